import { closeIcon } from '@jupyterlab/ui-components';
import * as React from 'react';

import { ProblemList, useProblems } from '../forms/field';
import { useHost } from '../host';
import type { Condition, Job } from '../model';
import { IconButton } from '../parts';

type Dependency = { workload_id: string; on: Condition };

const CONDITIONS: readonly (readonly [Condition, string])[] = [
  ['success', 'succeeded'],
  ['failure', 'failed'],
  ['end', 'ended']
];

/** The jobs that this one runs after. */
export function DependencyRows(props: {
  jobId?: string;
  after: Dependency[];
  onChange: (after: Dependency[]) => void;
}): React.ReactElement {
  const { after, onChange, jobId } = props;
  const { api } = useHost();
  const problems = useProblems('after');
  const [jobs, setJobs] = React.useState<Job[]>([]);
  React.useEffect(() => {
    api.jobs({ limit: 200, sort: 'name' }).then(
      page => setJobs(page.items.filter(job => job.id !== jobId)),
      () => setJobs([])
    );
  }, [api, jobId]);
  const change = (index: number, part: Partial<Dependency>) =>
    onChange(after.map((one, at) => (at === index ? { ...one, ...part } : one)));
  return (
    <fieldset className="hm-Group hm-mod-plain">
      <legend>Run after other jobs</legend>
      {after.map((dependency, index) => (
        <div className="hm-Row" key={index}>
          <select
            className="hm-Input"
            aria-label="Job that goes before"
            value={dependency.workload_id}
            onChange={event => change(index, { workload_id: event.target.value })}
          >
            <option value="">Choose a job</option>
            {jobs.map(job => (
              <option key={job.id} value={job.id}>
                {job.name}
              </option>
            ))}
          </select>
          <select
            className="hm-Input hm-Row-type"
            aria-label="How it must end"
            value={dependency.on}
            onChange={event => change(index, { on: event.target.value as Condition })}
          >
            {CONDITIONS.map(([on, word]) => (
              <option key={on} value={on}>
                has {word}
              </option>
            ))}
          </select>
          <IconButton
            icon={closeIcon}
            label="Remove this dependency"
            onClick={() => onChange(after.filter((_, at) => at !== index))}
          />
        </div>
      ))}
      <ProblemList problems={problems} />
      <button
        type="button"
        className="hm-Button"
        disabled={jobs.length === 0}
        onClick={() => onChange([...after, { workload_id: '', on: 'success' }])}
      >
        {jobs.length === 0 ? 'There is no other job' : 'Add a job'}
      </button>
    </fieldset>
  );
}
