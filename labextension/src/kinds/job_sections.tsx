import * as React from 'react';

import { CheckField, ChoiceField, LinesField, Section, TextField } from '../forms/field';
import { PairRows } from '../forms/pairs';
import type { Environment } from '../model';
import { DependencyRows } from './job_dependencies';
import { DurationField } from './job_duration';
import { IJobForm } from './job_form';

interface IPart {
  form: IJobForm;
  set: (part: Partial<IJobForm>) => void;
}

const FORMATS: readonly (readonly [string, string])[] = [
  ['html', 'HTML'],
  ['markdown', 'Markdown'],
  ['script', 'Script'],
  ['pdf', 'PDF (needs LaTeX)'],
  ['slides', 'Slides']
];

/** Where the notebook runs. */
export function EnvironmentField(
  props: IPart & { environments: Environment[] }
): React.ReactElement {
  const { form, set, environments } = props;
  const isKnown = environments.some(({ name }) => name === form.environment);
  return (
    <ChoiceField
      label="Environment"
      path="environment"
      value={form.environment}
      choices={[
        ['', "The notebook's own"] as const,
        ...environments.map(({ name, title }) => [name, title] as const),
        ...(form.environment && !isKnown ? [[form.environment, form.environment] as const] : [])
      ]}
      onChange={environment => set({ environment })}
    />
  );
}

/** Which reports are made of the executed notebook. */
export function FormatFields({ form, set }: IPart): React.ReactElement {
  const others = form.formats.filter(one => !FORMATS.some(([name]) => name === one));
  return (
    <fieldset className="hm-Group">
      <legend>Reports beside the executed notebook</legend>
      <div className="hm-Checks">
        {[...FORMATS, ...others.map(name => [name, name] as const)].map(([name, label]) => (
          <CheckField
            key={name}
            label={label}
            value={form.formats.includes(name)}
            onChange={isOn =>
              set({
                formats: isOn
                  ? [...form.formats, name]
                  : form.formats.filter(other => other !== name)
              })
            }
          />
        ))}
      </div>
    </fieldset>
  );
}

/** What most jobs do not need. */
export function MoreSections(props: IPart & { jobId?: string }): React.ReactElement {
  const { form, set } = props;
  return (
    <>
      <Section
        title="Files"
        paths={['files', 'outputs', 'working_folder', 'whole_folder']}
        note={form.wholeFolder ? 'whole folder' : undefined}
      >
        <CheckField
          label="Take all that lies beside the notebook"
          value={form.wholeFolder}
          onChange={wholeFolder => set({ wholeFolder })}
        />
        <LinesField
          label="More input files and folders"
          path="files"
          value={form.files}
          help="One path a line, from the root of the file browser. They are pinned when the job is made."
          onChange={files => set({ files })}
        />
        <LinesField
          label="Files to keep"
          path="outputs"
          value={form.outputs}
          help="One pattern a line, such as *.csv or figures/**"
          onChange={outputs => set({ outputs })}
        />
        <TextField
          label="Working folder"
          path="working_folder"
          value={form.workingFolder}
          placeholder="the run's own folder"
          help="A folder in which the notebook reads and writes live files"
          onChange={workingFolder => set({ workingFolder })}
        />
      </Section>
      <Section
        title="Limits and retries"
        paths={['timeout_seconds', 'cell_timeout_seconds', 'retries', 'resources']}
      >
        <div className="hm-Columns">
          <DurationField
            label="Time for the whole run"
            path="timeout_seconds"
            value={form.timeout}
            unit={form.timeoutUnit}
            onChange={(timeout, timeoutUnit) => set({ timeout, timeoutUnit })}
          />
          <DurationField
            label="Time for each cell"
            path="cell_timeout_seconds"
            value={form.cellTimeout}
            unit={form.cellTimeoutUnit}
            onChange={(cellTimeout, cellTimeoutUnit) => set({ cellTimeout, cellTimeoutUnit })}
          />
          <TextField
            label="Tries after a failure"
            path="retries.count"
            type="number"
            value={form.retries}
            onChange={retries => set({ retries })}
          />
          <TextField
            label="Seconds before the first of them"
            path="retries.delay_seconds"
            type="number"
            value={form.retryDelay}
            onChange={retryDelay => set({ retryDelay })}
          />
          <TextField
            label="Cores"
            path="resources.cpu"
            type="number"
            value={form.cpu}
            placeholder="not limited"
            help="A quota counts 1 where none are given"
            onChange={cpu => set({ cpu })}
          />
          <TextField
            label="Memory in GiB"
            path="resources.memory_bytes"
            type="number"
            value={form.memory}
            placeholder="not limited"
            onChange={memory => set({ memory })}
          />
        </div>
      </Section>
      <Section title="Environment variables" paths={['env']} note={String(form.env.length || '')}>
        <PairRows path="env" pairs={form.env} onChange={env => set({ env })} />
      </Section>
      <Section
        title="Tags, order and messages"
        paths={['tags', 'after', 'notify', 'retention']}
        note={form.tags || undefined}
      >
        <TextField
          label="Tags"
          path="tags"
          value={form.tags}
          help="With commas between them"
          onChange={tags => set({ tags })}
        />
        <DependencyRows jobId={props.jobId} after={form.after} onChange={after => set({ after })} />
        <MessageFields form={form} set={set} />
        <TextField
          label="Runs to keep"
          path="retention.keep_runs"
          type="number"
          value={form.keepRuns}
          placeholder="all"
          onChange={keepRuns => set({ keepRuns })}
        />
      </Section>
    </>
  );
}

function MessageFields({ form, set }: IPart): React.ReactElement {
  return (
    <div className="hm-Columns">
      <ChoiceField
        label="Tell somebody"
        path="notify.0.on"
        value={form.notifyOn}
        choices={[
          ['end', 'when a run has ended'],
          ['success', 'when a run succeeded'],
          ['failure', 'when a run failed']
        ]}
        onChange={notifyOn => set({ notifyOn })}
      />
      <TextField
        label="By e-mail to"
        path="notify.0.email"
        type="email"
        value={form.email}
        onChange={email => set({ email })}
      />
      <TextField
        label="By a request to"
        path="notify.0.webhook"
        type="url"
        value={form.webhook}
        placeholder="https://…"
        onChange={webhook => set({ webhook })}
      />
      <TextField
        label="Secret that signs the request"
        path="notify.0.secret"
        type="password"
        value={form.secret}
        help="Never shown again: type it anew when you change the job."
        onChange={secret => set({ secret })}
      />
    </div>
  );
}
