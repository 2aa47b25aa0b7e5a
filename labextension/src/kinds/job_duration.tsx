import * as React from 'react';

import { Field } from '../forms/field';
import type { Unit } from './job_form';

const UNIT_WORDS: readonly (readonly [Unit, string])[] = [
  ['s', 'seconds'],
  ['min', 'minutes'],
  ['h', 'hours']
];

/** A duration with its unit. */
export function DurationField(props: {
  label: string;
  path: string;
  value: string;
  unit: Unit;
  onChange: (value: string, unit: Unit) => void;
}): React.ReactElement {
  return (
    <Field label={props.label} path={props.path}>
      {control => (
        <div className="hm-Duration">
          <input
            {...control}
            type="number"
            min={0}
            step="any"
            placeholder="no limit"
            value={props.value}
            onChange={event => props.onChange(event.target.value, props.unit)}
          />
          <select
            className="hm-Input"
            aria-label={`${props.label}: unit`}
            value={props.unit}
            onChange={event => props.onChange(props.value, event.target.value as Unit)}
          >
            {UNIT_WORDS.map(([unit, word]) => (
              <option key={unit} value={unit}>
                {word}
              </option>
            ))}
          </select>
        </div>
      )}
    </Field>
  );
}
