import { editIcon, runIcon } from '@jupyterlab/ui-components';
import * as React from 'react';

import { ApiError } from '../api';
import { relative } from '../format';
import { useHost } from '../host';
import { clockIcon } from '../icon';
import { hasEnded, Job } from '../model';
import { EmptyNote, ErrorNote, IconButton, ProgressBar, StatusBadge } from '../parts';
import { LiveList, SearchField } from './list';

/** The list of jobs: what was defined and can be run again. */
export function JobList(): React.ReactElement {
  const { api } = useHost();
  const [search, setSearch] = React.useState('');
  return (
    <LiveList
      label="Jobs"
      query={{ search }}
      load={api.jobs}
      isActive={job => job.last_run !== null && !hasEnded(job.last_run.status)}
      item={job => <JobItem job={job} />}
      filters={<SearchField label="Search jobs" onSearch={setSearch} />}
      empty={
        search ? (
          <EmptyNote title="No job matches the search." />
        ) : (
          <EmptyNote title="No job has been defined yet.">
            <p>
              A job is a notebook with its parameters and environment, ready to run again or on a
              schedule.
            </p>
          </EmptyNote>
        )
      }
    />
  );
}

function JobItem({ job }: { job: Job }): React.ReactElement {
  const { api, changed, openForm, openRun, openSchedule } = useHost();
  const [error, setError] = React.useState<ApiError | null>(null);
  const last = job.last_run;
  const run = async () => {
    try {
      openRun((await api.startRun(job.id)).id);
      setError(null);
    } catch (thrown) {
      setError(ApiError.of(thrown));
    }
    changed.emit();
  };
  return (
    <>
      <div className="hm-Item-head">
        <button
          type="button"
          className="hm-Item-name"
          title={job.spec.notebook}
          onClick={() => (last ? openRun(last.id) : openForm({ jobId: job.id }))}
        >
          {job.name}
        </button>
        <IconButton icon={runIcon} label={`Run ${job.name} now`} onClick={() => void run()} />
        <IconButton
          icon={clockIcon}
          label={`Schedule ${job.name}…`}
          onClick={() => openSchedule({ jobId: job.id })}
        />
        <IconButton
          icon={editIcon}
          label={`Edit ${job.name}…`}
          onClick={() => openForm({ jobId: job.id })}
        />
      </div>
      <div className="hm-Item-line">
        {last ? <StatusBadge status={last.status} /> : <span className="hm-Quiet">Never ran</span>}
        {last && <span className="hm-Quiet">{relative(last.created_at)}</span>}
        {last && <ProgressBar run={last} />}
      </div>
      <p className="hm-Item-path">{job.spec.notebook}</p>
      {error && <ErrorNote error={error} />}
    </>
  );
}
