import * as React from 'react';

import { ApiError } from '../api';
import { useHost } from '../host';
import { hasEnded, Run } from '../model';
import { ConfirmButton, ErrorNote } from '../parts';

const AT_A_CELL = ['cell_failed', 'cell_timed_out', 'kernel_died', 'out_of_memory', 'timed_out'];

/** What can be done with a run now. */
export function RunActions(props: {
  run: Run;
  onChanged: () => void;
  onDeleted: () => void;
}): React.ReactElement {
  const { run, onChanged, onDeleted } = props;
  const { api, changed, openForm, openRun, openSchedule } = useHost();
  const [error, setError] = React.useState<ApiError | null>(null);
  const [isBusy, setBusy] = React.useState(false);

  const act = async (action: () => Promise<unknown>, after?: () => void) => {
    setBusy(true);
    setError(null);
    try {
      await action();
      after?.();
      changed.emit();
    } catch (thrown) {
      setError(ApiError.of(thrown));
    } finally {
      setBusy(false);
    }
  };
  const again = (fromFailedCell: boolean) =>
    void act(async () => openRun((await api.rerun(run.id, fromFailedCell)).id));

  const ended = hasEnded(run.status);
  return (
    <div className="hm-Actions">
      {!ended && (
        <button
          type="button"
          className="hm-Button hm-mod-danger"
          disabled={isBusy || run.target === 'stop'}
          onClick={() => void act(() => api.stopRun(run.id), onChanged)}
        >
          Stop
        </button>
      )}
      {ended && run.status === 'failed' && run.reason && AT_A_CELL.includes(run.reason.code) && (
        <button
          type="button"
          className="hm-Button"
          disabled={isBusy}
          onClick={() => again(true)}
          title="Keep the outputs of the cells before the failed one, and go on from there"
        >
          Run from the failed cell
        </button>
      )}
      {ended && (
        <button
          type="button"
          className="hm-Button"
          disabled={isBusy}
          onClick={() => again(false)}
          title="With the same files and parameters"
        >
          Run again
        </button>
      )}
      <button
        type="button"
        className="hm-Button"
        onClick={() => openForm({ jobId: run.workload_id })}
      >
        Edit job…
      </button>
      <button
        type="button"
        className="hm-Button"
        onClick={() => openSchedule({ jobId: run.workload_id })}
      >
        Schedule…
      </button>
      {ended && (
        <ConfirmButton
          label="Delete"
          question="Delete this run with its files?"
          onConfirm={() => void act(() => api.deleteRun(run.id), onDeleted)}
        />
      )}
      {error && <ErrorNote error={error} />}
    </div>
  );
}
