import { pauseIcon, refreshIcon, runIcon } from '@jupyterlab/ui-components';
import * as React from 'react';

import type { IQuery } from '../api';
import { useChanged, useShown } from '../host';
import type { Page } from '../model';
import { ErrorNote, IconButton, Pages } from '../parts';
import { usePolled } from '../polling';

const PAGE = 25;

/** A page of a list that keeps itself up to date while it is shown. */
export function LiveList<T extends { id: string }>(props: {
  label: string;
  query: IQuery;
  load: (query: IQuery, signal: AbortSignal) => Promise<Page<T>>;
  isActive: (item: T) => boolean;
  item: (item: T) => React.ReactNode;
  empty: React.ReactNode;
  filters?: React.ReactNode;
}): React.ReactElement {
  const [isPaused, setPaused] = React.useState(false);
  const [cursors, setCursors] = React.useState<string[]>([]);
  const filter = JSON.stringify(props.query);
  React.useEffect(() => setCursors([]), [filter]);

  const cursor = cursors.at(-1);
  const shown = useShown();
  const { value, error, isLoading, refresh } = usePolled(
    `${filter} ${cursor ?? ''}`,
    shown,
    signal => props.load({ ...props.query, limit: PAGE, cursor }, signal),
    page => (isPaused ? 1e8 : page?.items.some(props.isActive) ? 2000 : 10_000)
  );
  useChanged(refresh);
  const togglePause = () => {
    setPaused(!isPaused);
    refresh();
  };

  return (
    <div className="hm-List">
      <div className="hm-List-bar">
        {props.filters}
        <IconButton icon={refreshIcon} label="Refresh" onClick={refresh} />
        <IconButton
          icon={isPaused ? runIcon : pauseIcon}
          label={isPaused ? 'Resume live updates' : 'Pause live updates'}
          isPressed={isPaused}
          onClick={togglePause}
        />
      </div>
      {error && <ErrorNote error={error} onRetry={refresh} />}
      {!value && !error && isLoading && <p className="hm-Quiet hm-List-wait">Loading…</p>}
      {value && value.items.length === 0 && props.empty}
      {value && value.items.length > 0 && (
        <ul className="hm-List-items" aria-label={props.label}>
          {value.items.map(one => (
            <li key={one.id} className="hm-Item">
              {props.item(one)}
            </li>
          ))}
        </ul>
      )}
      <Pages label="Pages" cursors={cursors} next={value?.next_cursor} onCursors={setCursors} />
    </div>
  );
}

/** A search field whose text takes effect when typing rests. */
export function SearchField(props: {
  label: string;
  onSearch: (text: string) => void;
}): React.ReactElement {
  const [text, setText] = React.useState('');
  const { onSearch } = props;
  React.useEffect(() => {
    const timer = window.setTimeout(() => onSearch(text.trim()), 250);
    return () => window.clearTimeout(timer);
  }, [text, onSearch]);
  return (
    <input
      type="search"
      className="hm-Input hm-Search"
      placeholder={props.label}
      aria-label={props.label}
      value={text}
      onChange={event => setText(event.target.value)}
    />
  );
}
