import { closeIcon } from '@jupyterlab/ui-components';
import * as React from 'react';

import { IconButton } from '../parts';
import { ProblemList, useProblems } from './field';

/** A name with its value. */
export interface IPair {
  name: string;
  value: string;
}

/** Environment variables, one a row. */
export function PairRows(props: {
  path: string;
  pairs: IPair[];
  onChange: (pairs: IPair[]) => void;
}): React.ReactElement {
  const { pairs, onChange } = props;
  const problems = useProblems(props.path);
  const change = (index: number, part: Partial<IPair>) =>
    onChange(pairs.map((pair, at) => (at === index ? { ...pair, ...part } : pair)));
  return (
    <div className="hm-Rows">
      {pairs.map((pair, index) => (
        <div className="hm-Row" key={index} role="group" aria-label={`Variable ${pair.name}`}>
          <input
            className="hm-Input hm-Row-name"
            aria-label="Name of the variable"
            placeholder="NAME"
            spellCheck={false}
            value={pair.name}
            onChange={event => change(index, { name: event.target.value })}
          />
          <input
            className="hm-Input"
            aria-label={`Value of ${pair.name || 'the variable'}`}
            placeholder="value"
            spellCheck={false}
            value={pair.value}
            onChange={event => change(index, { value: event.target.value })}
          />
          <IconButton
            icon={closeIcon}
            label={`Remove ${pair.name || 'the variable'}`}
            onClick={() => onChange(pairs.filter((_, at) => at !== index))}
          />
        </div>
      ))}
      <ProblemList problems={problems} />
      <button
        type="button"
        className="hm-Button"
        onClick={() => onChange([...pairs, { name: '', value: '' }])}
      >
        Add variable
      </button>
    </div>
  );
}
