import * as React from 'react';

import { Api, ApiError } from '../api';
import { CellEvent, hasEnded, Output, Run, RunEvent } from '../model';

const LOG_LIMIT = 1_000_000;
const TAIL = 262_144;
const FLUSH_MILLISECONDS = 120;

/** All that is known of a run, as of now. */
export interface ILive {
  run: Run | null;
  cells: CellEvent[];
  log: string;
  /** Whether the log begins later than the run did. */
  isCut: boolean;
  outputs: Output[];
  /** Whether the run has ended and all that it left is here. */
  isComplete: boolean;
  error: ApiError | null;
}

const NOTHING: ILive = {
  run: null,
  cells: [],
  log: '',
  isCut: false,
  outputs: [],
  isComplete: false,
  error: null
};

/** Take one event into what is known. A new attempt begins with an empty log. */
export function apply(live: ILive, event: RunEvent): ILive {
  if (event.run) {
    const isAnew =
      live.run !== null && event.run.attempt > live.run.attempt && live.run.attempt > 0;
    return isAnew ? { ...NOTHING, run: event.run } : { ...live, run: event.run };
  }
  if (event.cell) {
    const { index } = event.cell;
    const others = live.cells.filter(cell => cell.index !== index);
    return { ...live, cells: [...others, event.cell].sort((one, two) => one.index - two.index) };
  }
  if (event.log) {
    const log = live.log + event.log;
    return log.length > LOG_LIMIT
      ? { ...live, log: log.slice(-LOG_LIMIT / 2), isCut: true }
      : { ...live, log };
  }
  return live;
}

/** Follow a run while `isShown`: over the event stream while it goes on, then once for all. */
export function useRun(api: Api, runId: string, isShown: boolean): [ILive, () => void] {
  const [live, setLive] = React.useState<ILive>(NOTHING);
  const [round, setRound] = React.useState(0);
  const known = React.useRef<ILive>(NOTHING);
  const last = React.useRef<string | null>(null);
  const isComplete = React.useRef(false);

  React.useEffect(() => {
    if (!isShown || isComplete.current) {
      return;
    }
    const abort = new AbortController();
    const follower = new Follower(api, runId, abort.signal, {
      known: () => known.current,
      last,
      onChange: next => {
        known.current = next;
        setLive(next);
      }
    });
    void follower.follow().then(complete => {
      isComplete.current ||= complete;
    });
    return () => abort.abort();
  }, [api, runId, isShown, round]);

  const refresh = React.useCallback(() => {
    isComplete.current = false;
    setRound(number => number + 1);
  }, []);
  return [live, refresh];
}

interface IFollowed {
  known: () => ILive;
  last: { current: string | null };
  onChange: (live: ILive) => void;
}

class Follower {
  constructor(
    private readonly _api: Api,
    private readonly _runId: string,
    private readonly _signal: AbortSignal,
    private readonly _followed: IFollowed
  ) {}

  /** Follow until the run has ended; tells whether it is known to the end. */
  async follow(): Promise<boolean> {
    let pause = 500;
    while (!this._signal.aborted) {
      try {
        const run = await this._api.run(this._runId, this._signal);
        this._change({ run, error: null });
        if (hasEnded(run.status)) {
          await this._complete();
          return true;
        }
        pause = 500;
        await this._stream();
      } catch (thrown) {
        if (this._signal.aborted) {
          return false;
        }
        const error = ApiError.of(thrown);
        this._change({ error });
        if (error.status === 404) {
          return true;
        }
      }
      await new Promise(done => window.setTimeout(done, pause));
      pause = Math.min(pause * 2, 10_000);
    }
    return false;
  }

  private async _stream(): Promise<void> {
    const { known, last, onChange } = this._followed;
    let pending = known();
    let timer = 0;
    const flush = () => {
      timer = 0;
      if (!this._signal.aborted) {
        onChange(pending);
      }
    };
    try {
      for await (const event of this._api.events(this._runId, last.current, this._signal)) {
        pending = apply(pending, event);
        last.current = event.id || last.current;
        timer ||= window.setTimeout(flush, FLUSH_MILLISECONDS);
        if (event.type === 'end') {
          return;
        }
      }
    } finally {
      window.clearTimeout(timer);
      flush();
    }
  }

  private async _complete(): Promise<void> {
    const [cells, outputs, log] = await Promise.all([
      this._api.cells(this._runId),
      this._api.outputs(this._runId),
      this._api.log(this._runId, -TAIL, TAIL)
    ]);
    const latest = new Map<number, CellEvent>();
    for (const { cell } of cells) {
      if (cell) {
        latest.set(cell.index, cell);
      }
    }
    this._change({
      cells: [...latest.values()].sort((one, two) => one.index - two.index),
      outputs,
      isComplete: true,
      log: log.text,
      isCut: log.offset > 0
    });
  }

  private _change(change: Partial<ILive>): void {
    if (!this._signal.aborted) {
      this._followed.onChange({ ...this._followed.known(), ...change });
    }
  }
}
