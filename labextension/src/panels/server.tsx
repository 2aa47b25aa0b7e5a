import * as React from 'react';

import { useHost, useShown } from '../host';
import { usePolled } from '../polling';
import { serverWords } from '../usage';

const EACH = 30_000;

/** Why the user's server at the hub stays, or when it will be stopped. */
export function ServerLine(): React.ReactElement | null {
  const { server } = useHost();
  return server === null ? null : <Line server={server} />;
}

function Line({ server }: { server: string }): React.ReactElement | null {
  const { api } = useHost();
  const { value } = usePolled(
    `server ${server}`,
    useShown(),
    signal => api.server(server, signal),
    () => EACH
  );
  const words = value && serverWords(value);
  if (!words) {
    return null;
  }
  return (
    <p className={`hm-Server hm-mod-${value.verdict}`} role="status" aria-label="Your server">
      {words}
    </p>
  );
}
