import * as React from 'react';

import { plainText } from '../terminal';

/** A run's log, which follows its end unless the reader scrolls away from it. */
export function LogView(props: {
  text: string;
  isCut: boolean;
  isLive: boolean;
}): React.ReactElement {
  const [isFollowing, setFollowing] = React.useState(true);
  const box = React.useRef<HTMLPreElement>(null);
  const text = React.useMemo(() => plainText(props.text), [props.text]);
  React.useEffect(() => {
    if (isFollowing && box.current) {
      box.current.scrollTop = box.current.scrollHeight;
    }
  }, [text, isFollowing]);
  const onScroll = () => {
    const node = box.current;
    if (node) {
      setFollowing(node.scrollHeight - node.scrollTop - node.clientHeight < 24);
    }
  };
  if (!text) {
    return (
      <p className="hm-Quiet hm-Pad">
        {props.isLive ? 'Nothing has been logged yet.' : 'The log is empty.'}
      </p>
    );
  }
  return (
    <div className="hm-Log">
      <label className="hm-Check hm-Log-follow">
        <input
          type="checkbox"
          checked={isFollowing}
          onChange={event => setFollowing(event.target.checked)}
        />
        Follow the end
      </label>
      {props.isCut && <p className="hm-Quiet">Earlier lines are left out.</p>}
      <pre
        ref={box}
        className="hm-Log-text"
        // eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- scrollable by keyboard
        tabIndex={0}
        role="log"
        aria-label="Log"
        aria-live={props.isLive ? 'polite' : 'off'}
        onScroll={onScroll}
      >
        {text}
      </pre>
    </div>
  );
}
