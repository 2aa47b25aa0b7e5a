import * as React from 'react';

import { Api, ApiError, IProblem, newKey } from '../api';
import type { Timing } from '../forms/cron';
import { mergeRows, readParameters } from '../forms/parameters';
import type { IHost } from '../host';
import type { Environment, Job, Parameters } from '../model';
import { formOf, IJobForm, newForm, specOf } from './job_form';

/** What the form needs to know before it can be filled in. */
export interface IJobStart {
  form: IJobForm;
  job: Job | null;
  error: ApiError | null;
}

/** Prepare the form: read the job that is edited, and the parameters of the notebook. */
export async function startOf(
  host: IHost,
  start: { notebook?: string; jobId?: string }
): Promise<IJobStart> {
  let job: Job | null = null;
  let form = newForm(start.notebook ?? '');
  if (start.jobId) {
    try {
      job = await host.api.job(start.jobId);
      form = formOf(job);
    } catch (thrown) {
      return { form, job, error: ApiError.of(thrown) };
    }
  }
  const given = job?.spec.parameters ?? {};
  return {
    form: { ...form, parameters: await rowsOf(host, form.notebook, given) },
    job,
    error: null
  };
}

/** Give the rows of a notebook's parameters; none when it cannot be read. */
export async function rowsOf(
  host: IHost,
  notebook: string,
  given: Parameters
): Promise<IJobForm['parameters']> {
  try {
    return mergeRows(notebook ? readParameters(await host.readNotebook(notebook)) : [], given);
  } catch {
    return mergeRows([], given);
  }
}

/** Load the environments once. */
export function useEnvironments(api: Api): Environment[] {
  const [environments, setEnvironments] = React.useState<Environment[]>([]);
  React.useEffect(() => {
    api.environments().then(setEnvironments, () => setEnvironments([]));
  }, [api]);
  return environments;
}

/** How a form was sent, so that sending it again makes nothing twice. */
export interface ISubmission {
  send: (request: IRequest) => Promise<void>;
  problems: IProblem[];
  error: ApiError | null;
  isSending: boolean;
}

interface IRequest {
  form: IJobForm;
  job: Job | null;
  isRunNow: boolean;
  timing: Timing | null;
  onDone: (job: Job) => void;
}

/** Send the form: the job first, then its schedule; what was made already is not made again. */
export function useSubmission(api: Api): ISubmission {
  const [error, setError] = React.useState<ApiError | null>(null);
  const [problems, setProblems] = React.useState<IProblem[]>([]);
  const [isSending, setSending] = React.useState(false);
  const keys = React.useRef(new Map<string, string>());
  const keyFor = (body: unknown) => {
    const text = JSON.stringify(body);
    const key = keys.current.get(text) ?? newKey();
    keys.current.set(text, key);
    return key;
  };

  const save = async (request: IRequest, spec: ReturnType<typeof specOf>['spec']): Promise<Job> => {
    const name = request.form.name.trim() || null;
    if (!request.job) {
      const draft = { name, spec, run: request.isRunNow };
      return api.createJob(draft, keyFor(draft));
    }
    const patch = name === null ? { spec } : { name, spec };
    const job = await api.updateJob(request.job.id, patch);
    return request.isRunNow
      ? { ...job, last_run: await api.startRun(job.id, keyFor([job.id, patch])) }
      : job;
  };

  const send = async (request: IRequest) => {
    const { spec, problems: unreadable } = specOf(request.form, request.job?.spec);
    setError(null);
    setProblems(unreadable);
    if (unreadable.length > 0) {
      return;
    }
    setSending(true);
    try {
      const job = await save(request, spec);
      if (request.timing) {
        const draft = { ...request.timing, workload_id: job.id };
        await api.createSchedule(draft, keyFor(draft));
      }
      request.onDone(job);
    } catch (thrown) {
      const refused = ApiError.of(thrown);
      setError(refused);
      setProblems(refused.problems);
    } finally {
      setSending(false);
    }
  };
  return { send, problems, error, isSending };
}
