import { describe, expect, it } from 'vitest';

import type { Run, ServerState, Standing } from './model';
import { hours, limitsOf, months, queueWords, quotaHints, serverWords, span } from './usage';

function standing(quota: Partial<Standing['quota']>, taken: Partial<Standing> = {}): Standing {
  return {
    running: 0,
    cpu: 0,
    memory_bytes: 0,
    run_hours: 0,
    resets_at: '2026-12-01T00:00:00Z',
    ...taken,
    quota: {
      scope: 'everyone',
      subject: '',
      running: null,
      cpu: null,
      memory_bytes: null,
      run_hours: null,
      ...quota
    }
  };
}

describe('months', () => {
  it('are those of UTC, over the turn of the year', () => {
    const made = months(3, new Date('2026-01-31T23:59:59Z'));
    expect(made.map(({ id }) => id)).toEqual(['2026-01', '2025-12', '2025-11']);
    expect([made[1]?.since, made[1]?.until]).toEqual([
      '2025-12-01T00:00:00.000Z',
      '2026-01-01T00:00:00.000Z'
    ]);
  });
});

describe('limits', () => {
  it('are shown for what a quota sets alone', () => {
    expect(limitsOf(standing({ running: 4 }, { running: 1 }))).toEqual([
      {
        what: 'running',
        label: 'Runs at once',
        used: 1,
        limit: 4,
        text: '1 of 4',
        rest: '3 left',
        state: 'free'
      }
    ]);
  });
  it.each([
    [8.9, 'free'],
    [9, 'close'],
    [10, 'full'],
    [12, 'full']
  ])('%d of 10 hours are %s', (used, state) => {
    expect(limitsOf(standing({ run_hours: 10 }, { run_hours: used }))[0]?.state).toBe(state);
  });
  it('of nothing at all are full', () => {
    expect(limitsOf(standing({ memory_bytes: 0 }))[0]).toMatchObject({
      state: 'full',
      rest: 'nothing left'
    });
  });
});

describe('hints', () => {
  it('say nothing while there is enough', () => {
    expect(quotaHints([standing({ running: 4, run_hours: 10 }, { running: 3 })])).toEqual([]);
  });
  it('tell that a new run waits for others', () => {
    const full = standing({ scope: 'group', subject: 'lab', cpu: 2 }, { cpu: 2 });
    expect(quotaHints([full])).toEqual([
      'Cores at once of the group lab: 2 of 2 taken. A new run waits in the queue until others have ended.'
    ]);
  });
  it('tell when hours are nearly used up, and when they come back', () => {
    const [hint] = quotaHints([standing({ run_hours: 10 }, { run_hours: 9.5 })]);
    expect(hint).toMatch(/9\.5 h of 10 h taken\. .* is taken until (1 December|December 1)\./);
  });
  it('tell that nothing new is taken when hours are used up', () => {
    const [hint] = quotaHints([standing({ run_hours: 10 }, { run_hours: 10 })]);
    expect(hint).toMatch(/No new run is taken until (1 December|December 1), unless/);
  });
});

describe('words', () => {
  const run = (part: Partial<Run>) => ({ status: 'queued', position: null, ...part }) as Run;
  it('name the place in the queue and the quota', () => {
    const reason = { code: 'quota', message: 'Your quota of 1 run is taken.', next_step: '' };
    expect(queueWords(run({ position: 2, reason }))).toBe(
      'Number 2 in the queue. Your quota of 1 run is taken.'
    );
    expect(queueWords(run({ status: 'running', reason }))).toBeNull();
    expect(queueWords(run({ reason: null }))).toBeNull();
  });
  it('say when a server is stopped', () => {
    const server = { why: 'It has nothing to do.', stop_at: '2026-03-01T12:20:00Z' } as ServerState;
    expect(serverWords(server, Date.parse('2026-03-01T12:00:00Z'))).toBe(
      'This server has nothing to do. It will be stopped in 20 minutes if nothing happens; runs go on.'
    );
    expect(serverWords({ ...server, stop_at: null })).toBe('This server has nothing to do.');
  });
  it.each([
    [0, '0 h'],
    [0.021, '0.02 h'],
    [3.44, '3.4 h'],
    [120.4, '120 h']
  ])('%d hours are %s', (value, text) => {
    expect(hours(value)).toBe(text);
  });
  it.each([
    [0, '0 h'],
    [0.001, '3.6 s'],
    [0.5, '30 min'],
    [3.44, '3.4 h']
  ])('a span of %d hours is %s', (value, text) => {
    expect(span(value)).toBe(text);
  });
});
