import * as React from 'react';

import { ApiError } from '../api';
import { CronEditor, newTiming } from '../forms/cron';
import { CheckField, Problems, TextField } from '../forms/field';
import { ParameterRows } from '../forms/parameter_rows';
import { useHost } from '../host';
import type { Job } from '../model';
import type { ITab } from '../pages/pages';
import { ConfirmButton, ErrorNote } from '../parts';
import { IJobForm } from './job_form';
import { ProfileField } from './job_profile';
import { ProjectField, QuotaHints } from './job_quota';
import { EnvironmentField, FormatFields, MoreSections } from './job_sections';
import { IJobStart, rowsOf, startOf, useEnvironments, useSubmission } from './job_state';

/** The page on which a job is made or changed. */
export function JobPage(props: { notebook?: string; jobId?: string } & ITab): React.ReactElement {
  const host = useHost();
  const { notebook, jobId, onTitle } = props;
  const [start, setStart] = React.useState<IJobStart | null>(null);
  React.useEffect(() => {
    let isCurrent = true;
    void startOf(host, { notebook, jobId }).then(made => isCurrent && setStart(made));
    return () => {
      isCurrent = false;
    };
  }, [host, notebook, jobId]);
  const name = start?.job?.name;
  React.useEffect(() => {
    if (name) {
      onTitle(name);
    }
  }, [name, onTitle]);

  if (!start) {
    return <p className="hm-Page hm-Quiet">Loading…</p>;
  }
  if (start.error) {
    return (
      <div className="hm-Page">
        <ErrorNote error={start.error} />
      </div>
    );
  }
  return <JobEditor {...props} start={start} />;
}

function JobEditor(props: { start: IJobStart } & ITab): React.ReactElement {
  const host = useHost();
  const { job } = props.start;
  const [form, setForm] = React.useState<IJobForm>(props.start.form);
  const [isRunNow, setRunNow] = React.useState(true);
  const [isScheduled, setScheduled] = React.useState(false);
  const [timing, setTiming] = React.useState(newTiming);
  const environments = useEnvironments(host.api);
  const { send, problems, error, isSending } = useSubmission(host.api);
  const root = React.useRef<HTMLFormElement>(null);
  const set = (part: Partial<IJobForm>) => setForm(before => ({ ...before, ...part }));

  React.useEffect(() => {
    root.current?.querySelector<HTMLElement>('[aria-invalid="true"]')?.focus();
  }, [problems]);

  const readAgain = async () => {
    const parameters = await rowsOf(host, form.notebook.trim(), {});
    if (parameters.length > 0) {
      set({ parameters });
    }
  };
  const onDone = (made: Job) => {
    host.changed.emit();
    if (isRunNow && made.last_run) {
      host.openRun(made.last_run.id);
    }
    props.onClose();
  };
  const onSubmit = (event: React.FormEvent) => {
    event.preventDefault();
    void send({ form, job, isRunNow, timing: isScheduled ? timing : null, onDone });
  };

  return (
    <form ref={root} className="hm-Page hm-Form" onSubmit={onSubmit} noValidate>
      <h1>{job ? `Edit ${job.name}` : 'New job'}</h1>
      <Problems value={problems}>
        <div className="hm-Columns">
          <TextField
            label="Notebook"
            path="notebook"
            value={form.notebook}
            isRequired
            onChange={notebook => set({ notebook })}
          />
          <TextField
            label="Name"
            path="name"
            value={form.name}
            placeholder={title(form.notebook)}
            onChange={name => set({ name })}
          />
          <EnvironmentField form={form} set={set} environments={environments} />
          <ProfileField form={form} set={set} />
          <ProjectField form={form} set={set} />
        </div>
        <fieldset className="hm-Group">
          <legend>Parameters</legend>
          {form.parameters.length === 0 && (
            <p className="hm-Quiet">
              The notebook has no cell tagged <code>parameters</code> that could be read; those you
              add here are set before its first cell.
            </p>
          )}
          <ParameterRows rows={form.parameters} onChange={parameters => set({ parameters })} />
          {!job && form.notebook !== props.start.form.notebook && (
            <button type="button" className="hm-Button" onClick={() => void readAgain()}>
              Read them from the notebook
            </button>
          )}
        </fieldset>
        <FormatFields form={form} set={set} />
        <MoreSections form={form} set={set} jobId={job?.id} />
      </Problems>
      <fieldset className="hm-Group">
        <legend>When</legend>
        <CheckField label="Run it now" value={isRunNow} onChange={setRunNow} />
        <CheckField
          label={job ? 'Add a schedule' : 'Run on a schedule'}
          value={isScheduled}
          onChange={setScheduled}
        />
        {isScheduled && <CronEditor value={timing} onChange={setTiming} problems={problems} />}
      </fieldset>
      <QuotaHints />
      <Submit
        label={job ? (isRunNow ? 'Save and run' : 'Save') : isRunNow ? 'Run' : 'Create'}
        error={error}
        count={problems.length}
        isSending={isSending}
        onCancel={props.onClose}
      >
        {job && <DeleteJob job={job} onDone={props.onClose} />}
      </Submit>
    </form>
  );
}

function Submit(props: {
  label: string;
  error: ApiError | null;
  count: number;
  isSending: boolean;
  onCancel: () => void;
  children: React.ReactNode;
}): React.ReactElement {
  return (
    <div className="hm-Submit">
      {props.error && <ErrorNote error={props.error} />}
      {!props.error && props.count > 0 && (
        <p className="hm-Note hm-mod-error" role="alert">
          Correct the marked fields, then try again.
        </p>
      )}
      <div className="hm-Actions">
        <button type="submit" className="hm-Button hm-mod-primary" disabled={props.isSending}>
          {props.isSending ? 'Sending…' : props.label}
        </button>
        <button type="button" className="hm-Button" onClick={props.onCancel}>
          Cancel
        </button>
        {props.children}
      </div>
    </div>
  );
}

function DeleteJob(props: { job: Job; onDone: () => void }): React.ReactElement {
  const { api, changed } = useHost();
  const [error, setError] = React.useState<ApiError | null>(null);
  const remove = async () => {
    try {
      await api.deleteJob(props.job.id);
      props.onDone();
      changed.emit();
    } catch (thrown) {
      setError(ApiError.of(thrown));
    }
  };
  return (
    <>
      <ConfirmButton
        label="Delete job"
        question="Delete it with its schedules, its runs and their files?"
        onConfirm={() => void remove()}
      />
      {error && <ErrorNote error={error} />}
    </>
  );
}

function title(notebook: string): string {
  return notebook.replace(/^.*\//, '').replace(/\.ipynb$/, '');
}
