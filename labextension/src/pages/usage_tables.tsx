import * as React from 'react';

import type { ITime } from '../api';
import { bytes, duration, moment } from '../format';
import { useChanged, useHost, useShown } from '../host';
import type { UsageEntry, UsageTotal } from '../model';
import { ErrorNote, Pages } from '../parts';
import { usePolled } from '../polling';
import { decimal, span } from '../usage';

const EACH = 10_000;

/** Sums of usage, one line a subject. */
export function TotalsTable(props: {
  title: string;
  subject: string;
  totals: UsageTotal[];
  nameless?: string;
}): React.ReactElement {
  const id = React.useId();
  return (
    <section aria-labelledby={id}>
      <h2 id={id}>{props.title}</h2>
      <table className="hm-Table hm-Numbers hm-mod-even" aria-labelledby={id}>
        <thead>
          <tr>
            <th scope="col">{props.subject}</th>
            <th scope="col">Entries</th>
            <th scope="col">Time</th>
            <th scope="col">CPU time used</th>
            <th scope="col">CPU asked for</th>
            <th scope="col">GiB hours asked for</th>
          </tr>
        </thead>
        <tbody>
          {props.totals.map(total => (
            <tr key={total.subject}>
              <th scope="row">
                {total.name || total.subject || <i>{props.nameless ?? 'none'}</i>}
              </th>
              <td>{total.entries.toLocaleString()}</td>
              <td>{span(total.hours)}</td>
              <td>{span(total.cpu_hours)}</td>
              <td>{span(total.asked_cpu_hours)}</td>
              <td>{decimal(total.asked_memory_gib_hours)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

/** The lines of the ledger, the youngest first. */
export function Ledger({ time }: { time: ITime }): React.ReactElement | null {
  const { api, openRun } = useHost();
  const [cursors, setCursors] = React.useState<string[]>([]);
  const cursor = cursors.at(-1);
  const { value, error, refresh } = usePolled(
    `ledger ${cursor ?? ''}`,
    useShown(),
    signal => api.usage(time, cursor, signal),
    () => EACH
  );
  useChanged(refresh);
  if (error) {
    return <ErrorNote error={error} onRetry={refresh} />;
  }
  if (!value || (value.items.length === 0 && cursors.length === 0)) {
    return null;
  }
  return (
    <section aria-labelledby="hm-usage-ledger">
      <h2 id="hm-usage-ledger">What was on</h2>
      <table className="hm-Table hm-Numbers" aria-labelledby="hm-usage-ledger">
        <thead>
          <tr>
            <th scope="col">Name</th>
            <th scope="col">Kind</th>
            <th scope="col">Project</th>
            <th scope="col">Started</th>
            <th scope="col">Time</th>
            <th scope="col">CPU time</th>
            <th scope="col">Peak memory</th>
          </tr>
        </thead>
        <tbody>
          {value.items.map(entry => (
            <tr key={entry.id}>
              <th scope="row" className="hm-Table-name">
                <EntryName entry={entry} onOpen={openRun} />
              </th>
              <td>{entry.kind}</td>
              <td>{entry.project}</td>
              <td>{moment(entry.started_at)}</td>
              <td>{lasted(entry)}</td>
              <td>{entry.ended_at ? duration(entry.cpu_seconds) : ''}</td>
              <td>{entry.peak_memory_bytes > 0 ? bytes(entry.peak_memory_bytes) : ''}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <Pages
        label="Pages of the ledger"
        cursors={cursors}
        next={value.next_cursor}
        onCursors={setCursors}
      />
    </section>
  );
}

function EntryName(props: {
  entry: UsageEntry;
  onOpen: (runId: string) => void;
}): React.ReactElement {
  const { entry } = props;
  const title = entry.title || entry.object_id || 'JupyterLab';
  if (!entry.object_id.startsWith('run-')) {
    return <>{title}</>;
  }
  return (
    <button type="button" className="hm-Item-name" onClick={() => props.onOpen(entry.object_id)}>
      {title}
    </button>
  );
}

function lasted(entry: UsageEntry): string {
  const end = entry.ended_at ? Date.parse(entry.ended_at) : Date.now();
  const text = duration(Math.max(0, end - Date.parse(entry.started_at)) / 1000);
  return entry.ended_at ? text : `${text} so far`;
}
