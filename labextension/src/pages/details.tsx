import * as React from 'react';

import { bytes, duration, moment } from '../format';
import type { Run } from '../model';
import { Pipeline } from './pipeline';

/** Everything else that is known of a run. */
export function Details({ run }: { run: Run }): React.ReactElement {
  const parameters = Object.entries(run.parameters);
  const rows: [string, React.ReactNode][] = [
    [
      'Started by',
      { user: 'you', schedule: 'a schedule', dependency: 'a job before it' }[run.trigger]
    ],
    ['Asked for', moment(run.created_at)],
    ['Started', run.started_at && moment(run.started_at)],
    ['Ended', run.ended_at && moment(run.ended_at)],
    ['Due at', run.tick_at && moment(run.tick_at)],
    ['CPU time', run.use && duration(run.use.cpu_seconds)],
    ['Peak memory', run.use && bytes(run.use.peak_memory_bytes)],
    ['Attempts', run.attempt > 0 && run.attempt],
    ['Lost attempts', run.lost_attempts > 0 && run.lost_attempts],
    ['Kernel', run.versions?.kernel],
    ['Interpreter', run.versions?.interpreter],
    ['Packages', run.versions?.packages_digest && <code>{run.versions.packages_digest}</code>],
    ['Inputs', run.snapshot_digest && <code>{run.snapshot_digest}</code>],
    ['Run', <code key="id">{run.id}</code>]
  ];
  return (
    <div className="hm-Pad hm-Details">
      <section aria-labelledby={`${run.id}-parameters`}>
        <h2 id={`${run.id}-parameters`}>Parameters</h2>
        {parameters.length === 0 ? (
          <p className="hm-Quiet">None were given.</p>
        ) : (
          <dl className="hm-Pairs">
            {parameters.map(([name, value]) => (
              <React.Fragment key={name}>
                <dt>{name}</dt>
                <dd>
                  <code>{JSON.stringify(value)}</code>
                </dd>
              </React.Fragment>
            ))}
          </dl>
        )}
      </section>
      <section aria-labelledby={`${run.id}-facts`}>
        <h2 id={`${run.id}-facts`}>Facts</h2>
        <dl className="hm-Pairs">
          {rows
            .filter(([, value]) => value)
            .map(([name, value]) => (
              <React.Fragment key={name}>
                <dt>{name}</dt>
                <dd>{value}</dd>
              </React.Fragment>
            ))}
        </dl>
      </section>
      <Pipeline jobId={run.workload_id} />
    </div>
  );
}
