import { editIcon, pauseIcon, runIcon } from '@jupyterlab/ui-components';
import * as React from 'react';

import { ApiError } from '../api';
import { moment, relative } from '../format';
import { useHost } from '../host';
import type { Schedule } from '../model';
import { EmptyNote, ErrorNote, IconButton } from '../parts';
import { LiveList, SearchField } from './list';

/** The list of schedules, those due first on top. */
export function ScheduleList(): React.ReactElement {
  const { api } = useHost();
  const [search, setSearch] = React.useState('');
  return (
    <LiveList
      label="Schedules"
      query={{ search }}
      load={api.schedules}
      isActive={() => false}
      item={schedule => <ScheduleItem schedule={schedule} />}
      filters={<SearchField label="Search schedules" onSearch={setSearch} />}
      empty={
        search ? (
          <EmptyNote title="No schedule matches the search." />
        ) : (
          <EmptyNote title="Nothing is scheduled.">
            <p>
              Choose <b>Run on a schedule</b> when you make a job, or the clock beside a job in the
              list of jobs. Schedules tick with JupyterLab closed.
            </p>
          </EmptyNote>
        )
      }
    />
  );
}

function ScheduleItem({ schedule }: { schedule: Schedule }): React.ReactElement {
  const { api, changed, openSchedule } = useHost();
  const [error, setError] = React.useState<ApiError | null>(null);
  const edit = () => openSchedule({ jobId: schedule.workload_id, scheduleId: schedule.id });
  const toggle = async () => {
    try {
      await api.updateSchedule(schedule.id, { paused: !schedule.paused });
      setError(null);
    } catch (thrown) {
      setError(ApiError.of(thrown));
    }
    changed.emit();
  };
  return (
    <>
      <div className="hm-Item-head">
        <button type="button" className="hm-Item-name" onClick={edit}>
          {schedule.workload_name}
        </button>
        <IconButton
          icon={schedule.paused ? runIcon : pauseIcon}
          label={`${schedule.paused ? 'Resume' : 'Pause'} the schedule of ${schedule.workload_name}`}
          onClick={() => void toggle()}
        />
        <IconButton
          icon={editIcon}
          label={`Edit the schedule of ${schedule.workload_name}…`}
          onClick={edit}
        />
      </div>
      <div className="hm-Item-line">
        <code>{schedule.cron}</code>
        <span className="hm-Quiet">{schedule.time_zone}</span>
      </div>
      <p className="hm-Quiet">
        {schedule.paused
          ? 'Paused'
          : schedule.next_tick_at
            ? `Next ${relative(schedule.next_tick_at)}: ${moment(schedule.next_tick_at)}`
            : 'Never runs again'}
      </p>
      {schedule.reason && <p className="hm-Item-reason">{schedule.reason.message}</p>}
      {error && <ErrorNote error={error} />}
    </>
  );
}
