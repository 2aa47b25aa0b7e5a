import * as React from 'react';

import { useHost, useShown } from '../host';
import { usePolled } from '../polling';

const EACH = 30_000;

/** What an admin tells everybody; nothing where nobody said anything. */
export function NoticeBar(): React.ReactElement | null {
  const { api } = useHost();
  const { value } = usePolled('notice', useShown(), api.notice, () => EACH);
  if (!value || (!value.banner && !value.is_draining)) {
    return null;
  }
  return (
    <div className="hm-Notice" role="status">
      {value.banner && <p className="hm-Note hm-mod-banner">{value.banner}</p>}
      {value.is_draining && (
        <p className="hm-Note hm-mod-warn">
          <strong>Nothing new starts at present.</strong> What runs goes on; what you start now
          waits in the queue.
        </p>
      )}
    </div>
  );
}
