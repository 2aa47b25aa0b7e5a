import * as React from 'react';

import { TextField } from '../forms/field';
import { useHost, useShown } from '../host';
import { usePolled } from '../polling';
import { months, quotaHints } from '../usage';
import { IJobForm } from './job_form';

const EACH = 10_000;

/** What the usage is booked on, with the projects of late to choose from. */
export function ProjectField(props: {
  form: IJobForm;
  set: (part: Partial<IJobForm>) => void;
}): React.ReactElement {
  const { api } = useHost();
  const id = React.useId();
  const [known, setKnown] = React.useState<string[]>([]);
  React.useEffect(() => {
    const [now, before] = months(2);
    if (now && before) {
      const time = { since: before.since, until: now.until };
      api.usageTotals(time, 'project').then(
        totals => setKnown(totals.map(({ subject }) => subject).filter(Boolean)),
        () => setKnown([])
      );
    }
  }, [api]);
  return (
    <>
      <TextField
        label="Project"
        path="project"
        value={props.form.project}
        placeholder="none"
        list={id}
        onChange={project => props.set({ project })}
      />
      <datalist id={id}>
        {known.map(name => (
          <option key={name} value={name} />
        ))}
      </datalist>
    </>
  );
}

/** Says, before a job is sent, that a quota would make it wait. */
export function QuotaHints(): React.ReactElement | null {
  const { api } = useHost();
  const { value } = usePolled('quotas', useShown(), api.quotas, () => EACH);
  const hints = quotaHints(value ?? []);
  if (hints.length === 0) {
    return null;
  }
  return (
    <ul className="hm-Note hm-mod-warn hm-Hints" aria-label="Quotas">
      {hints.map(text => (
        <li key={text}>{text}</li>
      ))}
    </ul>
  );
}
