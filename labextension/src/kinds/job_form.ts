import type { IProblem } from '../api';
import { IPair } from '../forms/pairs';
import { IParameterRow, isGiven, valueOf } from '../forms/parameters';
import type { Condition, Job, JobSpec, Parameters, SpecDraft } from '../model';

/** Units in which durations are typed, with their seconds. */
export const UNITS = { s: 1, min: 60, h: 3600 } as const;
export type Unit = keyof typeof UNITS;

const TAG = /^[\p{L}\p{N}_.:/ -]{1,60}$/u;
const PROJECT = /^[\p{L}\p{N}_.:/ -]{0,60}$/u;
const GIB = 2 ** 30;
const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]*$/;
const PARAMETER = /^[\p{L}_][\p{L}\p{N}_]*$/u;

/** The form of a job as the user sees it: texts, not values. */
export interface IJobForm {
  name: string;
  notebook: string;
  parameters: IParameterRow[];
  environment: string;
  formats: string[];
  wholeFolder: boolean;
  files: string;
  workingFolder: string;
  outputs: string;
  timeout: string;
  timeoutUnit: Unit;
  cellTimeout: string;
  cellTimeoutUnit: Unit;
  retries: string;
  retryDelay: string;
  env: IPair[];
  tags: string;
  project: string;
  cpu: string;
  /** In GiB. */
  memory: string;
  profile: string;
  after: { workload_id: string; on: Condition }[];
  notifyOn: Condition;
  webhook: string;
  secret: string;
  email: string;
  keepRuns: string;
}

/** The form of a new job. */
export function newForm(notebook: string): IJobForm {
  return {
    name: '',
    notebook,
    parameters: [],
    environment: '',
    formats: ['html'],
    wholeFolder: false,
    files: '',
    workingFolder: '',
    outputs: '',
    timeout: '',
    timeoutUnit: 'min',
    cellTimeout: '',
    cellTimeoutUnit: 'min',
    retries: '0',
    retryDelay: '10',
    env: [],
    tags: '',
    project: '',
    cpu: '',
    memory: '',
    profile: '',
    after: [],
    notifyOn: 'end',
    webhook: '',
    secret: '',
    email: '',
    keepRuns: ''
  };
}

/** The form of a job that exists; its parameters are merged with the notebook's own elsewhere. */
export function formOf(job: Job): IJobForm {
  const { spec } = job;
  const timeout = inUnit(spec.timeout_seconds);
  const cellTimeout = inUnit(spec.cell_timeout_seconds);
  const notify = spec.notify[0];
  return {
    ...newForm(spec.notebook),
    name: job.name,
    environment: spec.environment ?? '',
    formats: [...spec.formats],
    wholeFolder: spec.whole_folder,
    files: spec.files.join('\n'),
    workingFolder: spec.working_folder ?? '',
    outputs: spec.outputs.join('\n'),
    timeout: timeout.text,
    timeoutUnit: timeout.unit,
    cellTimeout: cellTimeout.text,
    cellTimeoutUnit: cellTimeout.unit,
    retries: String(spec.retries.count),
    retryDelay: String(spec.retries.delay_seconds),
    env: Object.entries(spec.env ?? {}).map(([name, value]) => ({ name, value })),
    tags: spec.tags.join(', '),
    project: spec.project,
    cpu: String(spec.resources.cpu ?? ''),
    memory: inGib(spec.resources.memory_bytes),
    profile: spec.profile,
    after: [...spec.after],
    notifyOn: notify?.on[0] ?? 'end',
    webhook: notify?.webhook ?? '',
    email: notify?.email ?? '',
    keepRuns: spec.retention.keep_runs === null ? '' : String(spec.retention.keep_runs)
  };
}

/**
 * Turn the form into what is sent, and name the fields that cannot be read.
 *
 * What the form does not show of a `base` that exists is kept.
 */
export function specOf(form: IJobForm, base?: JobSpec): { spec: SpecDraft; problems: IProblem[] } {
  const problems: IProblem[] = [];
  const number = (text: string, field: string, scale = 1): number | null => {
    const value = Number(text);
    if (text.trim() === '') {
      return null;
    }
    if (!Number.isFinite(value) || value < 0) {
      problems.push({ field, message: 'This is not a number from 0 on.' });
    }
    return value * scale;
  };
  if (form.notebook.trim() === '') {
    problems.push({ field: 'notebook', message: 'Say which notebook to run.' });
  }
  const parameters: Parameters = {};
  for (const row of form.parameters) {
    if (row.name !== '' && isGiven(row)) {
      try {
        parameters[row.name] = valueOf(row);
        if (!PARAMETER.test(row.name)) {
          throw new Error('A name has letters, digits and _ only, and no digit first.');
        }
      } catch (error) {
        const { message } = error as Error;
        problems.push({ field: `parameters.${row.name}`, message });
      }
    }
  }
  const tags = form.tags
    .split(',')
    .map(tag => tag.trim())
    .filter(Boolean);
  if (!tags.every(tag => TAG.test(tag))) {
    problems.push({
      field: 'tags',
      message: 'A tag has letters, digits, spaces and . : / _ - only.'
    });
  }
  if (!form.env.every(({ name }) => name === '' || VARIABLE.test(name))) {
    problems.push({
      field: 'env',
      message: 'The name of a variable has letters, digits and _ only, and no digit first.'
    });
  }
  const project = form.project.trim();
  if (!PROJECT.test(project)) {
    problems.push({
      field: 'project',
      message: 'A project has letters, digits, spaces and . : / _ - only, 60 at most.'
    });
  }
  const memory = number(form.memory, 'resources.memory_bytes', GIB);
  const spec: SpecDraft = {
    ...base,
    notebook: form.notebook.trim(),
    parameters,
    environment: form.environment || null,
    formats: form.formats,
    whole_folder: form.wholeFolder,
    files: lines(form.files),
    working_folder: form.workingFolder.trim() || null,
    outputs: lines(form.outputs),
    timeout_seconds: number(form.timeout, 'timeout_seconds', UNITS[form.timeoutUnit]),
    cell_timeout_seconds: number(
      form.cellTimeout,
      'cell_timeout_seconds',
      UNITS[form.cellTimeoutUnit]
    ),
    retries: {
      delay_seconds: number(form.retryDelay, 'retries.delay_seconds') ?? 10,
      factor: base?.retries.factor ?? 2,
      max_delay_seconds: base?.retries.max_delay_seconds ?? 3600,
      count: number(form.retries, 'retries.count') ?? 0
    },
    env: Object.fromEntries(
      form.env.filter(({ name }) => name !== '').map(({ name, value }) => [name, value])
    ),
    tags,
    project,
    resources: {
      cpu: number(form.cpu, 'resources.cpu'),
      memory_bytes: memory === null ? null : Math.round(memory)
    },
    profile: form.profile,
    after: form.after.filter(({ workload_id }) => workload_id !== ''),
    notify: notifications(form, base),
    retention: {
      keep_days: base?.retention.keep_days ?? null,
      keep_runs: number(form.keepRuns, 'retention.keep_runs')
    }
  };
  return { spec, problems };
}

function notifications(form: IJobForm, base?: JobSpec): JobSpec['notify'] {
  const others = base?.notify.slice(1) ?? [];
  if (form.webhook.trim() === '' && form.email.trim() === '') {
    return others;
  }
  const first = {
    on: [form.notifyOn],
    webhook: form.webhook.trim() || null,
    secret: form.secret || null,
    email: form.email.trim() || null
  };
  return [first, ...others];
}

function lines(text: string): string[] {
  return text
    .split('\n')
    .map(line => line.trim())
    .filter(Boolean);
}

function inGib(count: number | null): string {
  return count === null ? '' : String(count / GIB);
}

function inUnit(seconds: number | null): { text: string; unit: Unit } {
  if (seconds === null) {
    return { text: '', unit: 'min' };
  }
  const unit = (['h', 'min'] as const).find(one => seconds % UNITS[one] === 0) ?? 's';
  return { text: String(seconds / UNITS[unit]), unit };
}
