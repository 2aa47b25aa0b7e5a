import * as React from 'react';

import type { ITime } from '../api';
import { ChoiceField } from '../forms/field';
import { useChanged, useHost, useShown } from '../host';
import type { Standing, UsageTotal } from '../model';
import { HomeUse } from '../panels/home';
import { ErrorNote } from '../parts';
import { usePolled } from '../polling';
import { day, limitsOf, months, quotaName } from '../usage';
import { Ledger, TotalsTable } from './usage_tables';

const MONTHS = 13;
const EACH = 10_000;

interface ITotals {
  kinds: UsageTotal[];
  projects: UsageTotal[];
}

/** What the user has used in a month, and what they may use. */
export function UsagePage(): React.ReactElement {
  const { api } = useHost();
  const all = React.useMemo(() => months(MONTHS), []);
  const [id, setId] = React.useState(all[0]?.id ?? '');
  const month = all.find(one => one.id === id) ?? all[0];
  if (!month) {
    throw new Error('There is no month.');
  }
  return (
    <div className="hm-Page hm-Usage">
      <header className="hm-Page-header">
        <h1>Usage</h1>
        <div className="hm-Usage-choice">
          <ChoiceField
            label="Month (UTC)"
            path="month"
            value={id}
            choices={all.map(one => [one.id, one.label] as const)}
            onChange={setId}
          />
          <a className="hm-Button" href={api.usageUrl(month)} download={`usage-${month.id}.csv`}>
            Download as CSV
          </a>
        </div>
      </header>
      <HomeUse />
      <Quotas />
      <Totals key={month.id} time={month} />
      <Ledger key={`ledger ${month.id}`} time={month} />
    </div>
  );
}

function Quotas(): React.ReactElement {
  const { api } = useHost();
  const { value, error, refresh } = usePolled('quotas', useShown(), api.quotas, () => EACH);
  useChanged(refresh);
  return (
    <section aria-labelledby="hm-usage-quotas">
      <h2 id="hm-usage-quotas">Quotas</h2>
      {error && <ErrorNote error={error} onRetry={refresh} />}
      {value?.length === 0 && <p className="hm-Quiet">Nobody set a limit on what you run.</p>}
      {value && value.length > 0 && (
        <div className="hm-Columns">
          {value.map(one => (
            <Quota key={`${one.quota.scope} ${one.quota.subject}`} standing={one} />
          ))}
        </div>
      )}
    </section>
  );
}

function Quota({ standing }: { standing: Standing }): React.ReactElement {
  const limits = limitsOf(standing);
  return (
    <fieldset className="hm-Group hm-Quota">
      <legend>{quotaName(standing)}</legend>
      {limits.length === 0 && <p className="hm-Quiet">Without a limit.</p>}
      {limits.map(one => (
        <div key={one.what} className={`hm-Quota-limit hm-mod-${one.state}`}>
          <span>{one.label}</span>
          <progress
            className="hm-Progress-bar"
            max={Math.max(one.limit, 1e-9)}
            value={one.limit === 0 ? 1e-9 : Math.min(one.used, one.limit)}
            aria-label={`${one.label}: ${one.text}`}
          />
          <span>
            {one.text} <span className="hm-Quiet">· {one.rest}</span>
          </span>
        </div>
      ))}
      {limits.some(({ what }) => what === 'hours') && (
        <p className="hm-Quiet">Hours count anew from {day(standing.resets_at)} (UTC).</p>
      )}
    </fieldset>
  );
}

function Totals({ time }: { time: ITime }): React.ReactElement {
  const { api } = useHost();
  const load = async (signal: AbortSignal): Promise<ITotals> => {
    const [kinds, projects] = await Promise.all([
      api.usageTotals(time, 'kind', signal),
      api.usageTotals(time, 'project', signal)
    ]);
    return { kinds, projects };
  };
  const { value, error, refresh } = usePolled('totals', useShown(), load, () => EACH);
  useChanged(refresh);
  return (
    <>
      {error && <ErrorNote error={error} onRetry={refresh} />}
      {value && value.kinds.length === 0 && (
        <p className="hm-Note">Nothing was used in this month.</p>
      )}
      {value && value.kinds.length > 0 && (
        <>
          <TotalsTable title="By kind" subject="Kind" totals={value.kinds} />
          <TotalsTable
            title="By project"
            subject="Project"
            nameless="no project"
            totals={value.projects}
          />
        </>
      )}
    </>
  );
}
