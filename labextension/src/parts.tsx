import {
  checkIcon,
  circleEmptyIcon,
  errorIcon,
  fastForwardIcon,
  historyIcon,
  LabIcon,
  runIcon,
  stopIcon
} from '@jupyterlab/ui-components';
import * as React from 'react';

import type { ApiError } from './api';
import { hasEnded, Run, Status, STATUS_WORDS } from './model';

const ICONS: Record<Status, LabIcon> = {
  waiting: historyIcon,
  queued: circleEmptyIcon,
  starting: runIcon,
  running: runIcon,
  stopping: stopIcon,
  succeeded: checkIcon,
  failed: errorIcon,
  stopped: stopIcon,
  skipped: fastForwardIcon
};

/** A status as icon, colour and word. */
export function StatusBadge({ status }: { status: Status }): React.ReactElement {
  const Icon = ICONS[status];
  return (
    <span className={`hm-Status hm-mod-${status}`}>
      <Icon.react tag="span" className="hm-Status-icon" width="14px" height="14px" />
      {STATUS_WORDS[status]}
    </span>
  );
}

/** How far a run has come; nothing before its cells were counted and after success. */
export function ProgressBar({ run }: { run: Run }): React.ReactElement | null {
  const { done, total } = run.progress;
  if (total === 0 || run.status === 'succeeded' || (hasEnded(run.status) && done === 0)) {
    return null;
  }
  return (
    <span className="hm-Progress">
      <progress
        className={`hm-Progress-bar hm-mod-${run.status}`}
        max={total}
        value={done}
        aria-label={`Progress of ${run.workload_name}`}
      />
      <span className="hm-Progress-text">
        {done} of {total} cells
      </span>
    </span>
  );
}

/** A button with an icon and an accessible name. */
export function IconButton(props: {
  icon: LabIcon;
  label: string;
  onClick: () => void;
  isDisabled?: boolean;
  isPressed?: boolean;
}): React.ReactElement {
  return (
    <button
      type="button"
      className="hm-IconButton"
      title={props.label}
      aria-label={props.label}
      aria-pressed={props.isPressed}
      disabled={props.isDisabled}
      onClick={props.onClick}
    >
      <props.icon.react tag="span" width="16px" height="16px" />
    </button>
  );
}

/** What went wrong, and a way to try again. */
export function ErrorNote(props: { error: ApiError; onRetry?: () => void }): React.ReactElement {
  const { problems } = props.error;
  return (
    <div className="hm-Note hm-mod-error" role="alert">
      {problems.length === 0 && <p>{props.error.message}</p>}
      {problems.length > 0 && (
        <>
          <p>Correct this, then try again:</p>
          <ul>
            {problems.map(({ field, message }) => (
              <li key={field}>
                <code>{field.replace(/^spec\./, '')}</code>: {message}
              </li>
            ))}
          </ul>
        </>
      )}
      {props.onRetry && (
        <button type="button" className="hm-Button" onClick={props.onRetry}>
          Try again
        </button>
      )}
    </div>
  );
}

/** What to do where there is nothing yet. */
export function EmptyNote(props: {
  title: string;
  children?: React.ReactNode;
}): React.ReactElement {
  return (
    <div className="hm-Empty">
      <p className="hm-Empty-title">{props.title}</p>
      {props.children}
    </div>
  );
}

/** Ask once more, in place, before something is lost. */
export function ConfirmButton(props: {
  label: string;
  question: string;
  onConfirm: () => void;
}): React.ReactElement {
  const [isAsking, setAsking] = React.useState(false);
  if (!isAsking) {
    return (
      <button type="button" className="hm-Button" onClick={() => setAsking(true)}>
        {props.label}
      </button>
    );
  }
  return (
    <span className="hm-Confirm" role="group" aria-label={props.question}>
      <span>{props.question}</span>
      <button
        type="button"
        className="hm-Button hm-mod-danger"
        ref={button => button?.focus()}
        onClick={() => {
          setAsking(false);
          props.onConfirm();
        }}
      >
        {props.label}
      </button>
      <button type="button" className="hm-Button" onClick={() => setAsking(false)}>
        Keep
      </button>
    </span>
  );
}

/** Steps through a list by the cursors that lead to its pages; nothing where one page is all. */
export function Pages(props: {
  label: string;
  cursors: string[];
  next: string | null | undefined;
  onCursors: (cursors: string[]) => void;
}): React.ReactElement | null {
  const { cursors, next, onCursors } = props;
  if (cursors.length === 0 && !next) {
    return null;
  }
  return (
    <nav className="hm-List-pages" aria-label={props.label}>
      <button
        type="button"
        className="hm-Button"
        disabled={cursors.length === 0}
        onClick={() => onCursors(cursors.slice(0, -1))}
      >
        Newer
      </button>
      <span className="hm-Quiet">Page {cursors.length + 1}</span>
      <button
        type="button"
        className="hm-Button"
        disabled={!next}
        onClick={() => next && onCursors([...cursors, next])}
      >
        Older
      </button>
    </nav>
  );
}
