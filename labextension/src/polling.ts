import * as React from 'react';

import { ApiError } from './api';

/** What was loaded last, and how the latest attempt went. */
export interface IPolled<T> {
  value: T | null;
  error: ApiError | null;
  isLoading: boolean;
  refresh: () => void;
}

/** Tell whether the browser shows this page at all. */
export function usePageVisible(): boolean {
  const [visible, setVisible] = React.useState(!document.hidden);
  React.useEffect(() => {
    const follow = () => setVisible(!document.hidden);
    document.addEventListener('visibilitychange', follow);
    return () => document.removeEventListener('visibilitychange', follow);
  }, []);
  return visible;
}

/**
 * Load now, then again and again while `isEnabled`, each `delay(value)` milliseconds after an
 * answer. An error keeps the value that was there. Another `key` forgets it.
 */
export function usePolled<T>(
  key: string,
  isEnabled: boolean,
  load: (signal: AbortSignal) => Promise<T>,
  delay: (value: T | null) => number
): IPolled<T> {
  const [state, setState] = React.useState<{
    key: string;
    value: T | null;
    error: ApiError | null;
  }>({ key, value: null, error: null });
  const [isLoading, setLoading] = React.useState(true);
  const [round, setRound] = React.useState(0);
  const latest = React.useRef({ load, delay });
  latest.current = { load, delay };

  React.useEffect(() => {
    if (!isEnabled) {
      return;
    }
    const abort = new AbortController();
    let timer = 0;
    let value: T | null = null;
    const step = async () => {
      setLoading(true);
      let error: ApiError | null = null;
      try {
        value = await latest.current.load(abort.signal);
      } catch (thrown) {
        error = ApiError.of(thrown);
      }
      if (abort.signal.aborted) {
        return;
      }
      const loaded = value;
      setState(before => ({
        key,
        error,
        value: loaded ?? (before.key === key ? before.value : null)
      }));
      setLoading(false);
      timer = window.setTimeout(() => void step(), latest.current.delay(value));
    };
    void step();
    return () => {
      abort.abort();
      window.clearTimeout(timer);
    };
  }, [key, isEnabled, round]);

  const isCurrent = state.key === key;
  return {
    value: isCurrent ? state.value : null,
    error: isCurrent ? state.error : null,
    isLoading,
    refresh: React.useCallback(() => setRound(number => number + 1), [])
  };
}
