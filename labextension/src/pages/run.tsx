import * as React from 'react';

import { duration, moment, relative } from '../format';
import { useHost, useShown } from '../host';
import { hasEnded, Run } from '../model';
import { ErrorNote, ProgressBar, StatusBadge } from '../parts';
import { Tabs } from '../tabs';
import { RunActions } from './actions';
import { Details } from './details';
import { useRun } from './live';
import { LogView } from './log';
import { OutputList } from './outputs';
import type { ITab } from './pages';
import { NotebookPreview } from './preview';
import { Timing } from './timing';

/** The page of one run: live while it goes on, complete when it has ended. */
export function RunPage(props: { runId: string } & ITab): React.ReactElement {
  const { runId, onTitle, onClose } = props;
  const { api, changed } = useHost();
  const [live, refresh] = useRun(api, runId, useShown());
  const [chosen, setChosen] = React.useState<string | null>(null);
  const { run } = live;
  const name = run?.workload_name;
  React.useEffect(() => {
    if (name) {
      onTitle(name);
    }
  }, [name, onTitle]);
  const status = run?.status;
  React.useEffect(() => void changed.emit(), [changed, status]);

  if (!run) {
    return (
      <div className="hm-Page">
        {live.error ? (
          <ErrorNote error={live.error} onRetry={refresh} />
        ) : (
          <p className="hm-Quiet">Loading…</p>
        )}
      </div>
    );
  }
  const ended = hasEnded(run.status);
  const notebook = live.outputs.find(output => output.role === 'notebook');
  const current = chosen ?? (notebook ? 'notebook' : 'log');
  const tabs = [
    { id: 'notebook', label: 'Notebook' },
    { id: 'log', label: 'Log' },
    { id: 'timing', label: 'Timing' },
    {
      id: 'outputs',
      label: 'Files',
      note: live.isComplete ? String(live.outputs.length) : undefined
    },
    { id: 'details', label: 'Details' }
  ];
  return (
    <div className="hm-Page hm-RunPage">
      <header className="hm-Page-header">
        <h1>{run.workload_name}</h1>
        <RunActions run={run} onChanged={refresh} onDeleted={onClose} />
      </header>
      <div className="hm-RunPage-state" aria-live="polite">
        <StatusBadge status={run.status} />
        <ProgressBar run={run} />
        <span className="hm-Quiet">{story(run)}</span>
      </div>
      {live.error && <ErrorNote error={live.error} />}
      {run.reason && run.status !== 'succeeded' && (
        <div className={`hm-Note hm-mod-${run.status === 'failed' ? 'error' : 'info'}`}>
          <p>
            <strong>{run.reason.message}</strong>
          </p>
          {run.reason.next_step && <p>{run.reason.next_step}</p>}
        </div>
      )}
      <Tabs id={runId} label="Run" tabs={tabs} current={current} onChoose={setChosen}>
        {current === 'notebook' && (
          <NotebookPreview run={run} output={notebook} isComplete={live.isComplete} />
        )}
        {current === 'log' && <LogView text={live.log} isCut={live.isCut} isLive={!ended} />}
        {current === 'timing' && <Timing cells={live.cells} />}
        {current === 'outputs' && (
          <OutputList run={run} outputs={live.outputs} isComplete={live.isComplete} />
        )}
        {current === 'details' && <Details run={run} />}
      </Tabs>
    </div>
  );
}

function story(run: Run): string {
  const parts: string[] = [];
  if (run.position) {
    parts.push(`number ${run.position} in the queue`);
  }
  if (run.started_at && run.ended_at) {
    const seconds = (Date.parse(run.ended_at) - Date.parse(run.started_at)) / 1000;
    parts.push(`took ${duration(seconds)}`);
  }
  if (run.ended_at) {
    parts.push(`ended ${relative(run.ended_at)}`);
  } else if (run.not_before && Date.parse(run.not_before) > Date.now()) {
    parts.push(`tried again ${relative(run.not_before)}`);
  } else {
    parts.push(
      run.started_at ? `started ${moment(run.started_at)}` : `asked for ${relative(run.created_at)}`
    );
  }
  if (run.attempt > 1) {
    parts.push(`attempt ${run.attempt}`);
  }
  return parts.join(' · ');
}
