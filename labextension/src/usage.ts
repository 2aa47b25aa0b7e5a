import { bytes, count, duration } from './format';
import type { Run, ServerState, Standing } from './model';

/** A calendar month in UTC, as quotas count them. */
export interface IMonth {
  /** `2026-11` */
  id: string;
  label: string;
  since: string;
  until: string;
}

/** Give this month and those before it, the youngest first. */
export function months(number: number, now = new Date()): IMonth[] {
  return Array.from({ length: number }, (_, back) => {
    const first = new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - back, 1));
    const next = new Date(Date.UTC(first.getUTCFullYear(), first.getUTCMonth() + 1, 1));
    const name = first.toLocaleString(undefined, {
      month: 'long',
      year: 'numeric',
      timeZone: 'UTC'
    });
    return {
      id: first.toISOString().slice(0, 7),
      label: back === 0 ? `${name} (this month)` : name,
      since: first.toISOString(),
      until: next.toISOString()
    };
  });
}

/** One limit of a quota, and how much of it is taken. */
export interface ILimit {
  what: 'running' | 'cpu' | 'memory' | 'hours';
  label: string;
  used: number;
  limit: number;
  /** `2 of 4` */
  text: string;
  /** `2 left` */
  rest: string;
  state: 'free' | 'close' | 'full';
}

const CLOSE = 0.9;

/** Give the limits that a quota sets. */
export function limitsOf(standing: Standing): ILimit[] {
  const { quota } = standing;
  const made = [
    limit('running', 'Runs at once', standing.running, quota.running, whole),
    limit('cpu', 'Cores at once', standing.cpu, quota.cpu, decimal),
    limit('memory', 'Memory at once', standing.memory_bytes, quota.memory_bytes, bytes),
    limit('hours', 'Run hours this month', standing.run_hours, quota.run_hours, hours)
  ];
  return made.filter(one => one !== null);
}

function limit(
  what: ILimit['what'],
  label: string,
  used: number,
  most: number | null,
  write: (value: number) => string
): ILimit | null {
  if (most === null) {
    return null;
  }
  const state = used >= most ? 'full' : used >= CLOSE * most ? 'close' : 'free';
  return {
    what,
    label,
    used,
    limit: most,
    text: `${write(used)} of ${write(most)}`,
    rest: used >= most ? 'nothing left' : `${write(most - used)} left`,
    state
  };
}

/** Say whose quota it is. */
export function quotaName(standing: Standing): string {
  const { scope, subject } = standing.quota;
  if (scope === 'group') {
    return `Group ${subject}, all members together`;
  }
  return scope === 'user' ? 'Yours alone' : 'Yours, as everyone has';
}

/**
 * Say what a new run would meet: nothing, a quota that is nearly used up, or one that makes it
 * wait.
 */
export function quotaHints(standings: readonly Standing[]): string[] {
  return standings.flatMap(standing =>
    limitsOf(standing)
      .filter(({ state, what }) => state === 'full' || (state === 'close' && what === 'hours'))
      .map(one => hint(standing, one))
  );
}

function hint(standing: Standing, { what, label, text, state }: ILimit): string {
  const whose = standing.quota.scope === 'group' ? ` of the group ${standing.quota.subject}` : '';
  const taken = `${label}${whose}: ${text} taken.`;
  if (state === 'close') {
    return `${taken} When they are used up, no new run is taken until ${day(standing.resets_at)}.`;
  }
  return what === 'hours'
    ? `${taken} No new run is taken until ${day(standing.resets_at)}, unless an admin allows more.`
    : `${taken} A new run waits in the queue until others have ended.`;
}

/** Say why a run waits, and where in the queue. */
export function queueWords(run: Run): string | null {
  if (run.status !== 'queued') {
    return null;
  }
  const place = run.position ? `Number ${run.position} in the queue.` : '';
  const words = [place, run.reason?.message ?? ''].filter(Boolean).join(' ');
  return words || null;
}

/** Say why the user's server stays, or when it will be stopped. */
export function serverWords(server: ServerState, now = Date.now()): string {
  const why = server.why.replace(/^It /, 'This server ');
  if (!server.stop_at) {
    return why;
  }
  const minutes = Math.max(1, Math.round((Date.parse(server.stop_at) - now) / 60_000));
  const time = minutes < 120 ? `${count(minutes, 'minute')}` : `${Math.round(minutes / 60)} hours`;
  return `${why} It will be stopped in ${time} if nothing happens; runs go on.`.trimStart();
}

/** Write hours as people read them: `0.02 h`, `3.4 h`, `120 h`. */
export function hours(value: number): string {
  const digits = value >= 100 ? 0 : value >= 1 || value === 0 ? 1 : 2;
  return `${Number(value.toFixed(digits))} h`;
}

/** Write hours with the unit that fits: `3.3 s`, `12 min 5 s`, `3.4 h`. */
export function span(value: number): string {
  return value >= 1 || value === 0 ? hours(value) : duration(value * 3600);
}

/** Write the day of a moment, in the zone that months are counted in. */
export function day(iso: string): string {
  return new Date(iso).toLocaleDateString(undefined, {
    day: 'numeric',
    month: 'long',
    timeZone: 'UTC'
  });
}

/** Write a number with at most one decimal. */
export function decimal(value: number): string {
  return String(Number(value.toFixed(1)));
}

function whole(value: number): string {
  return value.toLocaleString();
}
