import { PageConfig, URLExt } from '@jupyterlab/coreutils';
import * as React from 'react';

import { homeText } from '../format';
import { useHost, useShown } from '../host';
import { usePolled } from '../polling';

const EACH = 60_000;

/** Where the home is cleaned up; on a machine of one's own there is no such page. */
function cleaningPage(): string {
  const isAtHub = PageConfig.getOption('hubPrefix') !== '';
  return isAtHub ? URLExt.join(PageConfig.getBaseUrl(), 'himalia/home') : '';
}

/** Says that the home is almost full; nothing while it is not. */
export function HomeBar(): React.ReactElement | null {
  const { api } = useHost();
  const { value } = usePolled('home', useShown(), api.home, () => EACH);
  if (!value || (!value.is_almost_full && !value.is_rescued)) {
    return null;
  }
  return (
    <div className="hm-Notice" role="status">
      <p className="hm-Note hm-mod-warn">
        <strong>
          {value.is_rescued
            ? 'Nothing can be written to your home, so your server runs without it.'
            : 'Your home is almost full.'}
        </strong>{' '}
        {homeText(value)} <CleaningLink />
      </p>
    </div>
  );
}

function CleaningLink(): React.ReactElement | null {
  const page = cleaningPage();
  return page ? (
    <a href={page} target="_blank" rel="noreferrer">
      See what fills it
    </a>
  ) : null;
}

/** How full the home is. */
export function HomeUse(): React.ReactElement | null {
  const { api } = useHost();
  const { value } = usePolled('home', useShown(), api.home, () => EACH);
  if (!value || value.size_bytes === null) {
    return null;
  }
  const used = value.used_bytes;
  return (
    <section aria-labelledby="hm-usage-home">
      <h2 id="hm-usage-home">Home</h2>
      <div className={`hm-Quota-limit hm-mod-${value.is_almost_full ? 'close' : 'fine'}`}>
        {used !== null && (
          <progress
            className="hm-Progress-bar"
            max={Math.max(value.size_bytes, 1)}
            value={Math.min(used, value.size_bytes)}
            aria-label={`Home: ${homeText(value)}`}
          />
        )}
        <span>
          {homeText(value)} <CleaningLink />
        </span>
      </div>
    </section>
  );
}
