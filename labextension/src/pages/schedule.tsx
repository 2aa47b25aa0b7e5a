import * as React from 'react';

import { ApiError, newKey } from '../api';
import { CronEditor, newTiming, Timing } from '../forms/cron';
import { CheckField } from '../forms/field';
import { useHost } from '../host';
import type { Schedule } from '../model';
import { ConfirmButton, ErrorNote } from '../parts';
import type { ITab } from './pages';

interface ILoaded {
  name: string;
  schedule: Schedule | null;
}

/** The page on which a job's schedule is made or changed. */
export function SchedulePage(
  props: { jobId: string; scheduleId?: string } & ITab
): React.ReactElement {
  const { jobId, scheduleId, onTitle } = props;
  const { api } = useHost();
  const [loaded, setLoaded] = React.useState<ILoaded | null>(null);
  const [error, setError] = React.useState<ApiError | null>(null);
  React.useEffect(() => {
    let isCurrent = true;
    const load = async () => {
      const schedule = scheduleId ? await api.schedule(scheduleId) : null;
      const name = schedule?.workload_name ?? (await api.job(jobId)).name;
      if (isCurrent) {
        setLoaded({ name, schedule });
        onTitle(`Schedule of ${name}`);
      }
    };
    load().catch(thrown => isCurrent && setError(ApiError.of(thrown)));
    return () => {
      isCurrent = false;
    };
  }, [api, jobId, scheduleId, onTitle]);
  return (
    <div className="hm-Page">
      {error && <ErrorNote error={error} />}
      {!error && !loaded && <p className="hm-Quiet">Loading…</p>}
      {loaded && <Editor {...props} {...loaded} />}
    </div>
  );
}

function Editor(props: { jobId: string } & ILoaded & ITab): React.ReactElement {
  const { jobId, name, schedule, onClose } = props;
  const { api, changed } = useHost();
  const [timing, setTiming] = React.useState<Timing>(() => (schedule ? of(schedule) : newTiming()));
  const [isPaused, setPaused] = React.useState(schedule?.paused ?? false);
  const [error, setError] = React.useState<ApiError | null>(null);
  const key = React.useRef({ text: '', key: '' });

  const act = async (action: () => Promise<unknown>) => {
    setError(null);
    try {
      await action();
      changed.emit();
      onClose();
    } catch (thrown) {
      setError(ApiError.of(thrown));
    }
  };
  const save = () => {
    if (schedule) {
      return api.updateSchedule(schedule.id, { ...timing, paused: isPaused });
    }
    const draft = { ...timing, paused: isPaused, workload_id: jobId };
    const text = JSON.stringify(draft);
    if (key.current.text !== text) {
      key.current = { text, key: newKey() };
    }
    return api.createSchedule(draft, key.current.key);
  };
  const onSubmit = (event: React.FormEvent) => {
    event.preventDefault();
    void act(save);
  };
  return (
    <form className="hm-Form" onSubmit={onSubmit} noValidate>
      <h1>Schedule of {name}</h1>
      <CronEditor value={timing} onChange={setTiming} problems={error?.problems} />
      <CheckField label="Paused" value={isPaused} onChange={setPaused} />
      <div className="hm-Submit">
        {error && <ErrorNote error={error} />}
        <div className="hm-Actions">
          <button type="submit" className="hm-Button hm-mod-primary">
            {schedule ? 'Save' : 'Schedule'}
          </button>
          <button type="button" className="hm-Button" onClick={onClose}>
            Cancel
          </button>
          {schedule && (
            <ConfirmButton
              label="Delete"
              question="Delete this schedule? Its runs stay."
              onConfirm={() => void act(() => api.deleteSchedule(schedule.id))}
            />
          )}
        </div>
      </div>
    </form>
  );
}

function of(schedule: Schedule): Timing {
  const { cron, time_zone, overlap, missed, inputs } = schedule;
  return { cron, time_zone, overlap, missed, inputs };
}
