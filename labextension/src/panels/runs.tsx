import { stopIcon } from '@jupyterlab/ui-components';
import * as React from 'react';

import { ApiError, IQuery } from '../api';
import { duration, moment, relative } from '../format';
import { useHost } from '../host';
import { hasEnded, Run, STATUS_FILTERS } from '../model';
import { EmptyNote, ErrorNote, IconButton, ProgressBar, StatusBadge } from '../parts';
import { queueWords } from '../usage';
import { LiveList, SearchField } from './list';

/** The list of runs, newest first. */
export function RunList(): React.ReactElement {
  const { api, openForm } = useHost();
  const [search, setSearch] = React.useState('');
  const [tag, setTag] = React.useState('');
  const [filter, setFilter] = React.useState('all');
  const query: IQuery = { search, tag, status: STATUS_FILTERS[filter]?.statuses };
  const isFiltered = search !== '' || tag !== '' || filter !== 'all';

  return (
    <LiveList
      label="Runs"
      query={query}
      load={api.runs}
      isActive={run => !hasEnded(run.status)}
      item={run => <RunItem run={run} onTag={setTag} />}
      filters={
        <>
          <SearchField label="Search runs" onSearch={setSearch} />
          <select
            className="hm-Input"
            aria-label="Status"
            value={filter}
            onChange={event => setFilter(event.target.value)}
          >
            {Object.entries(STATUS_FILTERS).map(([value, { label }]) => (
              <option key={value} value={value}>
                {label}
              </option>
            ))}
          </select>
          {tag && (
            <button type="button" className="hm-Tag hm-mod-on" onClick={() => setTag('')}>
              {tag} <span aria-hidden="true">×</span>
              <span className="hm-Hidden">: remove this filter</span>
            </button>
          )}
        </>
      }
      empty={
        isFiltered ? (
          <EmptyNote title="No run matches the filters." />
        ) : (
          <EmptyNote title="Nothing has run yet.">
            <p>
              Open a notebook and press <b>Run as job</b> in its toolbar, or right-click one in the
              file browser. The job goes on when you close JupyterLab.
            </p>
            <button type="button" className="hm-Button hm-mod-primary" onClick={() => openForm({})}>
              New job…
            </button>
          </EmptyNote>
        )
      }
    />
  );
}

/** One run in a list. */
export function RunItem(props: { run: Run; onTag?: (tag: string) => void }): React.ReactElement {
  const { run } = props;
  const { api, changed, openRun } = useHost();
  const [error, setError] = React.useState<ApiError | null>(null);
  const queued = queueWords(run);
  const stop = async () => {
    try {
      await api.stopRun(run.id);
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
          title={run.workload_name}
          onClick={() => openRun(run.id)}
        >
          {run.workload_name}
        </button>
        {!hasEnded(run.status) && run.status !== 'stopping' && (
          <IconButton
            icon={stopIcon}
            label={`Stop ${run.workload_name}`}
            onClick={() => void stop()}
          />
        )}
      </div>
      <div className="hm-Item-line">
        <StatusBadge status={run.status} />
        <span className="hm-Quiet" title={moment(run.created_at)}>
          {relative(run.created_at)}
          {took(run)}
        </span>
        <ProgressBar run={run} />
      </div>
      {run.status === 'failed' && run.reason && (
        <p className="hm-Item-reason">{run.reason.message}</p>
      )}
      {queued && <p className="hm-Quiet">{queued}</p>}
      {run.status === 'skipped' && run.reason && <p className="hm-Quiet">{run.reason.message}</p>}
      {run.tags.length > 0 && (
        <div className="hm-Item-line">
          {run.tags.map(tag => (
            <button
              key={tag}
              type="button"
              className="hm-Tag"
              title={`Show only runs tagged ${tag}`}
              onClick={() => props.onTag?.(tag)}
            >
              {tag}
            </button>
          ))}
        </div>
      )}
      {error && <ErrorNote error={error} />}
    </>
  );
}

function took(run: Run): string {
  if (!run.started_at || !run.ended_at) {
    return '';
  }
  return ` · ${duration((Date.parse(run.ended_at) - Date.parse(run.started_at)) / 1000)}`;
}
