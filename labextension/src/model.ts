import type * as types from './types';

export type {
  CellEvent,
  Condition,
  Environment,
  Graph,
  HomeUse,
  Job,
  JobSpec,
  LogChunk,
  Notice,
  Notification,
  Output,
  Profile,
  Reason,
  Run,
  RunEvent,
  Schedule,
  ServerState,
  ServiceStatus,
  Standing,
  Status,
  Ticks,
  UsageEntry,
  UsageTotal
} from './types';

/** Fields that the server fills in may be left out of what is sent. */
type Sent<T, Needed extends keyof T> = Partial<T> & Pick<T, Needed>;

export type SpecDraft = Sent<types.JobSpec, 'notebook'>;
export type JobDraft = { name?: string | null; spec: SpecDraft; run?: boolean };
export type JobPatch = { name?: string | null; spec?: SpecDraft };
export type ScheduleDraft = Sent<types.ScheduleDraft, 'workload_id' | 'cron'>;
export type SchedulePatch = Partial<types.SchedulePatch>;
export type Parameters = types.Run['parameters'];
export type Cells = types.CellList['items'];

/** Part of a list. */
export interface Page<T> {
  items: T[];
  next_cursor: string | null;
}

const ENDED: readonly types.Status[] = ['succeeded', 'failed', 'stopped', 'skipped'];

/** Every status with its word, in the order of a run's life. */
export const STATUS_WORDS: Record<types.Status, string> = {
  waiting: 'Waiting',
  queued: 'Queued',
  starting: 'Starting',
  running: 'Running',
  stopping: 'Stopping',
  succeeded: 'Succeeded',
  failed: 'Failed',
  stopped: 'Stopped',
  skipped: 'Skipped'
};

/** Tell whether a run has ended for good. */
export function hasEnded(status: types.Status): boolean {
  return ENDED.includes(status);
}

/** Choices of the status filter, each with the statuses it stands for. */
export const STATUS_FILTERS: Record<string, { label: string; statuses: types.Status[] }> = {
  all: { label: 'All statuses', statuses: [] },
  active: {
    label: 'Active',
    statuses: ['waiting', 'queued', 'starting', 'running', 'stopping']
  },
  succeeded: { label: 'Succeeded', statuses: ['succeeded'] },
  failed: { label: 'Failed', statuses: ['failed'] },
  stopped: { label: 'Stopped or skipped', statuses: ['stopped', 'skipped'] }
};
