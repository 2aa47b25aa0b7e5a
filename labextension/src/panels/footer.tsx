import * as React from 'react';

import { bytes, count } from '../format';
import { useChanged, useHost, useShown } from '../host';
import { usePolled } from '../polling';

/** How the service is doing, in one line. */
export function Footer(): React.ReactElement {
  const { api } = useHost();
  const { value, error, refresh } = usePolled('status', useShown(), api.status, status =>
    status && status.running + status.queued > 0 ? 2000 : 10_000
  );
  useChanged(refresh);
  if (error) {
    return (
      <footer className="hm-Footer hm-mod-error" role="status">
        Not connected
      </footer>
    );
  }
  if (!value) {
    return <footer className="hm-Footer" role="status" />;
  }
  const details = [
    `Himalia ${value.version}`,
    `${value.running} of ${value.limit} places taken`,
    value.pool && `${value.pool.ready} of ${value.pool.limit} kernels kept ready`,
    `${bytes(value.memory_bytes)} of memory`,
    `${bytes(value.disk_free_bytes)} of disk free`
  ].filter(Boolean);
  return (
    <footer className="hm-Footer" role="status" title={details.join('\n')}>
      <span>
        {value.running} running · {value.queued} queued · {count(value.schedules, 'schedule')}
      </span>
      {value.warnings.map(warning => (
        <span key={warning.code} className="hm-Footer-warning">
          {warning.message} {warning.next_step}
        </span>
      ))}
    </footer>
  );
}
