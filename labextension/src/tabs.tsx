import * as React from 'react';

/** A row of tabs with the panel of the chosen one; the arrow keys go from tab to tab. */
export function Tabs(props: {
  id: string;
  label: string;
  current: string;
  onChoose: (id: string) => void;
  tabs: readonly { id: string; label: string; note?: string }[];
  children: React.ReactNode;
}): React.ReactElement {
  const { tabs, current, onChoose } = props;
  const buttons = React.useRef(new Map<string, HTMLButtonElement | null>());

  const move = (event: React.KeyboardEvent) => {
    const here = tabs.findIndex(tab => tab.id === current);
    const targets: Record<string, number> = {
      ArrowLeft: here - 1,
      ArrowRight: here + 1,
      Home: 0,
      End: tabs.length - 1
    };
    const target = targets[event.key];
    if (target !== undefined) {
      const next = tabs[(target + tabs.length) % tabs.length];
      if (next) {
        onChoose(next.id);
        buttons.current.get(next.id)?.focus();
      }
      event.preventDefault();
    }
  };

  return (
    <>
      <div className="hm-Tabs" role="tablist" aria-label={props.label}>
        {tabs.map(({ id, label, note }) => (
          <button
            key={id}
            id={`${props.id}-tab-${id}`}
            ref={button => {
              buttons.current.set(id, button);
            }}
            type="button"
            role="tab"
            className="hm-Tab"
            aria-selected={id === current}
            aria-controls={`${props.id}-panel`}
            tabIndex={id === current ? 0 : -1}
            onClick={() => onChoose(id)}
            onKeyDown={move}
          >
            {label}
            {note && <span className="hm-Tab-note">{note}</span>}
          </button>
        ))}
      </div>
      <div
        id={`${props.id}-panel`}
        className="hm-TabPanel"
        role="tabpanel"
        aria-labelledby={`${props.id}-tab-${current}`}
      >
        {props.children}
      </div>
    </>
  );
}
