import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

import { readEvents } from './stream';
import type {
  Environment,
  Graph,
  HomeUse,
  Job,
  JobDraft,
  JobPatch,
  LogChunk,
  Notice,
  Output,
  Page,
  Profile,
  Run,
  RunEvent,
  Schedule,
  ScheduleDraft,
  SchedulePatch,
  ServerState,
  ServiceStatus,
  Standing,
  Ticks,
  UsageEntry,
  UsageTotal
} from './model';

/** One thing wrong with one field of what was sent. */
export interface IProblem {
  field: string;
  message: string;
}

/** Anything that the server refused, or that kept us from reaching it. */
export class ApiError extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly problems: IProblem[] = [],
    readonly status = 0
  ) {
    super(message);
    this.name = 'ApiError';
  }

  /** Turn whatever was thrown into an ApiError. */
  static of(thrown: unknown): ApiError {
    if (thrown instanceof ApiError) {
      return thrown;
    }
    return new ApiError(
      'unreachable',
      'The Jupyter server does not answer. It may have stopped, or the network is down.'
    );
  }
}

/** Which part of a list. */
export interface IQuery {
  limit?: number;
  cursor?: string | null;
  sort?: string;
  search?: string;
  tag?: string;
  status?: readonly string[];
  workload_id?: string;
  schedule_id?: string;
}

/** From when to when, as ISO 8601. */
export interface ITime {
  since: string;
  until: string;
}

interface ICall {
  query?: Record<string, unknown>;
  body?: unknown;
  key?: string;
  signal?: AbortSignal;
  headers?: Record<string, string>;
}

/** The typed client of the REST API, over JupyterLab's own connection settings. */
export class Api {
  constructor(private readonly _settings = ServerConnection.makeSettings()) {}

  status = (signal?: AbortSignal) => this._json<ServiceStatus>('GET', 'status', { signal });

  environments = async () =>
    (await this._json<{ items: Environment[] }>('GET', 'environments')).items;

  home = (signal?: AbortSignal) => this._json<HomeUse>('GET', 'home', { signal });
  profiles = async () => (await this._json<{ items: Profile[] }>('GET', 'profiles')).items;

  jobs = (query: IQuery, signal?: AbortSignal) =>
    this._json<Page<Job>>('GET', 'jobs', { query: { ...query }, signal });
  job = (id: string) => this._json<Job>('GET', `jobs/${id}`);
  createJob = (body: JobDraft, key: string) => this._json<Job>('POST', 'jobs', { body, key });
  updateJob = (id: string, body: JobPatch) => this._json<Job>('PATCH', `jobs/${id}`, { body });
  deleteJob = (id: string) => this._send('DELETE', `jobs/${id}`);
  graph = (id: string) => this._json<Graph>('GET', `jobs/${id}/graph`);
  startRun = (jobId: string, key = newKey()) =>
    this._json<Run>('POST', `jobs/${jobId}/runs`, { body: {}, key });

  runs = (query: IQuery, signal?: AbortSignal) =>
    this._json<Page<Run>>('GET', 'runs', { query: { ...query }, signal });
  run = (id: string, signal?: AbortSignal) => this._json<Run>('GET', `runs/${id}`, { signal });
  stopRun = (id: string) => this._json<Run>('POST', `runs/${id}/stop`);
  rerun = (id: string, fromFailedCell: boolean) =>
    this._json<Run>('POST', `runs/${id}/rerun`, {
      body: { from_failed_cell: fromFailedCell },
      key: newKey()
    });
  deleteRun = (id: string) => this._send('DELETE', `runs/${id}`);
  log = (id: string, offset: number, limit = 65_536) =>
    this._json<LogChunk>('GET', `runs/${id}/log`, { query: { offset, limit } });
  cells = async (id: string) =>
    (await this._json<{ items: RunEvent[] }>('GET', `runs/${id}/cells`)).items;
  outputs = async (id: string) =>
    (await this._json<{ items: Output[] }>('GET', `runs/${id}/outputs`)).items;

  /** Read one output as text. */
  async outputText(runId: string, name: string, signal?: AbortSignal): Promise<string> {
    const response = await this._send('GET', outputPath(runId, name), { signal });
    return response.text();
  }

  /** Address of an output for a link. */
  outputUrl(runId: string, name: string, download: boolean): string {
    return this._url(outputPath(runId, name), download ? { download: 1 } : {});
  }

  /** Yield a run's events after the one named, until the run has ended or `signal` aborts. */
  async *events(
    runId: string,
    after: string | null,
    signal: AbortSignal
  ): AsyncGenerator<RunEvent> {
    const response = await this._send('GET', `runs/${runId}/events`, {
      signal,
      headers: { Accept: 'text/event-stream', ...(after ? { 'Last-Event-ID': after } : {}) }
    });
    if (response.body) {
      yield* readEvents(response.body);
    }
  }

  schedules = (query: IQuery, signal?: AbortSignal) =>
    this._json<Page<Schedule>>('GET', 'schedules', { query: { ...query }, signal });
  schedule = (id: string) => this._json<Schedule>('GET', `schedules/${id}`);
  createSchedule = (body: ScheduleDraft, key: string) =>
    this._json<Schedule>('POST', 'schedules', { body, key });
  updateSchedule = (id: string, body: SchedulePatch) =>
    this._json<Schedule>('PATCH', `schedules/${id}`, { body });
  deleteSchedule = (id: string) => this._send('DELETE', `schedules/${id}`);
  preview = (cron: string, timeZone: string, signal?: AbortSignal) =>
    this._json<Ticks>('GET', 'schedules/preview', {
      query: { cron, time_zone: timeZone, count: 10 },
      signal
    });

  usage = (time: ITime, cursor?: string, signal?: AbortSignal) =>
    this._json<Page<UsageEntry>>('GET', 'usage', {
      query: { since: time.since, until: time.until, limit: 25, cursor },
      signal
    });
  usageTotals = async (time: ITime, by: 'kind' | 'project', signal?: AbortSignal) =>
    (
      await this._json<{ items: UsageTotal[] }>('GET', 'usage/totals', {
        query: { since: time.since, until: time.until, by },
        signal
      })
    ).items;
  usageUrl = (time: ITime) => this._url('usage.csv', { since: time.since, until: time.until });
  quotas = async (signal?: AbortSignal) =>
    (await this._json<{ items: Standing[] }>('GET', 'quotas', { signal })).items;

  notice = (signal?: AbortSignal) => this._json<Notice>('GET', 'notice', { signal });
  server = (name: string, signal?: AbortSignal) =>
    this._json<ServerState>('GET', `sessions/${encodeURIComponent(name || '-')}`, { signal });

  private _url(path: string, query: Record<string, unknown> = {}): string {
    const pairs = Object.entries(query).flatMap(([name, value]) =>
      (Array.isArray(value) ? value : [value])
        .filter(one => one !== undefined && one !== null && one !== '')
        .map(one => [name, String(one)])
    );
    const search = new URLSearchParams(pairs).toString();
    const url = URLExt.join(this._settings.baseUrl, 'himalia/api', path);
    return search ? `${url}?${search}` : url;
  }

  private async _json<T>(method: string, path: string, call: ICall = {}): Promise<T> {
    const response = await this._send(method, path, call);
    return (await response.json()) as T;
  }

  private async _send(method: string, path: string, call: ICall = {}): Promise<Response> {
    const headers: Record<string, string> = { ...call.headers };
    if (call.key) {
      headers['Idempotency-Key'] = call.key;
    }
    const init: RequestInit = { method, headers, signal: call.signal };
    if (call.body !== undefined) {
      init.body = JSON.stringify(call.body);
      headers['Content-Type'] = 'application/json';
    }
    let response: Response;
    try {
      response = await ServerConnection.makeRequest(
        this._url(path, call.query),
        init,
        this._settings
      );
    } catch (thrown) {
      throw ApiError.of(thrown);
    }
    if (!response.ok) {
      throw await refusal(response);
    }
    return response;
  }
}

/** Make a key under which a repeated request is recognised. */
export function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join('');
}

function outputPath(runId: string, name: string): string {
  return `runs/${runId}/outputs/${name.split('/').map(encodeURIComponent).join('/')}`;
}

async function refusal(response: Response): Promise<ApiError> {
  try {
    const { error } = await response.json();
    return new ApiError(error.code, error.message, error.details ?? [], response.status);
  } catch {
    return new ApiError(
      'internal',
      `The server answered ${response.status} ${response.statusText}.`,
      [],
      response.status
    );
  }
}
