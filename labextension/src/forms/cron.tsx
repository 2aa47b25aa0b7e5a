import * as React from 'react';

import { Api, ApiError, IProblem } from '../api';
import { useHost } from '../host';
import type { Schedule, Ticks } from '../model';
import { ChoiceField, Field, Problems, TextField } from './field';

/** What a schedule says about time, and about ticks that cannot be kept. */
export type Timing = Pick<Schedule, 'cron' | 'time_zone' | 'overlap' | 'missed' | 'inputs'>;

const PRESETS: readonly (readonly [string, string])[] = [
  ['*/15 * * * *', 'Every 15 minutes'],
  ['0 * * * *', 'Every hour'],
  ['0 6 * * *', 'Every day at 6:00'],
  ['0 9 * * 1-5', 'Monday to Friday at 9:00'],
  ['0 9 * * 1', 'Every Monday at 9:00'],
  ['0 6 1 * *', 'On the first of the month at 6:00']
];

const PREVIEWED = ['cron', 'time_zone'];

/** Where a new schedule begins: every day, in the reader's own zone. */
export function newTiming(): Timing {
  return {
    cron: '0 6 * * *',
    time_zone: Intl.DateTimeFormat().resolvedOptions().timeZone || 'UTC',
    overlap: 'skip',
    missed: 'run_once',
    inputs: 'pinned'
  };
}

/** The editor of a schedule's times, which reads the cron line back and shows its next ticks. */
export function CronEditor(props: {
  value: Timing;
  onChange: (value: Timing) => void;
  problems?: IProblem[];
}): React.ReactElement {
  const { value, onChange } = props;
  const { api } = useHost();
  const zones = React.useId();
  const { ticks, error } = usePreview(api, value.cron, value.time_zone);
  const preset = PRESETS.some(([cron]) => cron === value.cron) ? value.cron : '';
  // What the preview says of these two is newer than what the last submission said.
  const others = (props.problems ?? []).filter(({ field }) => !PREVIEWED.includes(field));
  const set = (part: Partial<Timing>) => onChange({ ...value, ...part });
  return (
    <Problems value={[...others, ...(error?.problems ?? [])]}>
      <div className="hm-Columns">
        <ChoiceField
          label="How often"
          path=""
          value={preset}
          choices={[...PRESETS, ['', 'As the cron line says']]}
          onChange={cron => set({ cron: cron || value.cron })}
        />
        <TextField
          label="Cron line"
          path="cron"
          value={value.cron}
          isRequired
          help="Minute, hour, day of month, month, day of week"
          onChange={cron => set({ cron })}
        />
        <TextField
          label="Time zone"
          path="time_zone"
          value={value.time_zone}
          isRequired
          list={zones}
          onChange={time_zone => set({ time_zone })}
        />
        <datalist id={zones}>
          {timeZones().map(zone => (
            <option key={zone} value={zone} />
          ))}
        </datalist>
      </div>
      <Preview ticks={ticks} error={error} />
      <div className="hm-Columns">
        <ChoiceField
          label="When the run before has not ended"
          path="overlap"
          value={value.overlap}
          choices={[
            ['skip', 'Leave this one out'],
            ['queue', 'Run after it'],
            ['replace', 'Stop it and run']
          ]}
          onChange={overlap => set({ overlap })}
        />
        <ChoiceField
          label="When the time passed unseen"
          path="missed"
          value={value.missed}
          choices={[
            ['run_once', 'Run once, as soon as possible'],
            ['skip', 'Wait for the next time']
          ]}
          onChange={missed => set({ missed })}
        />
        <ChoiceField
          label="Files"
          path="inputs"
          value={value.inputs}
          choices={[
            ['pinned', 'As they were when the job was made'],
            ['fresh', 'As they are each time']
          ]}
          onChange={inputs => set({ inputs })}
        />
      </div>
    </Problems>
  );
}

function Preview(props: { ticks: Ticks | null; error: ApiError | null }): React.ReactElement {
  const { ticks, error } = props;
  return (
    <Field label="Next times" path=" ">
      {({ id }) => (
        <output id={id} className="hm-Ticks" aria-live="polite">
          {error && error.problems.length === 0 && error.message}
          {error && error.problems.length > 0 && 'Correct the field above to see the next times.'}
          {!error && !ticks && 'Working them out…'}
          {!error && ticks && (
            <>
              <strong>{ticks.words}</strong>
              <ol>
                {ticks.ticks.map(tick => (
                  <li key={tick}>{inZone(tick, ticks.time_zone)}</li>
                ))}
              </ol>
            </>
          )}
        </output>
      )}
    </Field>
  );
}

function usePreview(
  api: Api,
  cron: string,
  zone: string
): { ticks: Ticks | null; error: ApiError | null } {
  const [state, setState] = React.useState<{ ticks: Ticks | null; error: ApiError | null }>({
    ticks: null,
    error: null
  });
  React.useEffect(() => {
    const abort = new AbortController();
    const ask = async () => {
      try {
        const ticks = await api.preview(cron, zone, abort.signal);
        setState({ ticks, error: null });
      } catch (thrown) {
        if (!abort.signal.aborted) {
          setState({ ticks: null, error: ApiError.of(thrown) });
        }
      }
    };
    const timer = window.setTimeout(() => void ask(), 300);
    return () => {
      window.clearTimeout(timer);
      abort.abort();
    };
  }, [api, cron, zone]);
  return state;
}

function inZone(tick: string, timeZone: string): string {
  const options: Intl.DateTimeFormatOptions = {
    weekday: 'short',
    year: 'numeric',
    month: 'short',
    day: 'numeric',
    hour: '2-digit',
    minute: '2-digit',
    timeZoneName: 'short'
  };
  try {
    return new Date(tick).toLocaleString(undefined, { ...options, timeZone });
  } catch {
    return new Date(tick).toLocaleString(undefined, options);
  }
}

function timeZones(): string[] {
  return Intl.supportedValuesOf('timeZone');
}
