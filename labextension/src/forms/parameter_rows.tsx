import { closeIcon } from '@jupyterlab/ui-components';
import * as React from 'react';

import { IconButton } from '../parts';
import { ProblemList, useProblems } from './field';
import type { IParameterRow, ParameterType } from './parameters';

const TYPES: readonly (readonly [ParameterType, string])[] = [
  ['text', 'Text'],
  ['number', 'Number'],
  ['boolean', 'True or false'],
  ['json', 'List or object (JSON)']
];

/** The parameters of a job, those of the notebook first. */
export function ParameterRows(props: {
  rows: IParameterRow[];
  onChange: (rows: IParameterRow[]) => void;
}): React.ReactElement {
  const { rows, onChange } = props;
  const replace = (index: number, row: IParameterRow) =>
    onChange(rows.map((one, at) => (at === index ? row : one)));
  return (
    <div className="hm-Rows">
      {rows.map((row, index) => (
        <ParameterRow
          key={index}
          row={row}
          onChange={changed => replace(index, changed)}
          onRemove={() => onChange(rows.filter((_, at) => at !== index))}
        />
      ))}
      <button
        type="button"
        className="hm-Button"
        onClick={() => onChange([...rows, { name: '', type: 'text', text: '' }])}
      >
        Add parameter
      </button>
    </div>
  );
}

function ParameterRow(props: {
  row: IParameterRow;
  onChange: (row: IParameterRow) => void;
  onRemove: () => void;
}): React.ReactElement {
  const { row, onChange } = props;
  const id = React.useId();
  const problems = useProblems(`parameters.${row.name}`);
  const label = row.name || 'new parameter';
  const control = {
    className: 'hm-Input',
    'aria-label': `Value of ${label}`,
    'aria-invalid': problems.length > 0 || undefined,
    'aria-describedby': problems.length > 0 ? id : undefined
  };
  const setText = (text: string) => onChange({ ...row, text });
  return (
    <div className="hm-Row" role="group" aria-label={`Parameter ${label}`}>
      {row.fallback === undefined ? (
        <input
          className="hm-Input hm-Row-name"
          aria-label="Name of the parameter"
          placeholder="name"
          spellCheck={false}
          value={row.name}
          onChange={event => onChange({ ...row, name: event.target.value })}
        />
      ) : (
        <code className="hm-Row-name">{row.name}</code>
      )}
      {row.type === 'boolean' ? (
        <select {...control} value={row.text} onChange={event => setText(event.target.value)}>
          <option value="true">True</option>
          <option value="false">False</option>
        </select>
      ) : (
        <input
          {...control}
          inputMode={row.type === 'number' ? 'decimal' : undefined}
          placeholder={row.fallback}
          spellCheck={false}
          value={row.text}
          onChange={event => setText(event.target.value)}
        />
      )}
      <select
        className="hm-Input hm-Row-type"
        aria-label={`Type of ${label}`}
        value={row.type}
        onChange={event => {
          const type = event.target.value as ParameterType;
          onChange({
            ...row,
            type,
            text: type === 'boolean' ? String(row.text === 'true') : row.text
          });
        }}
      >
        {TYPES.map(([type, text]) => (
          <option key={type} value={type}>
            {text}
          </option>
        ))}
      </select>
      {row.fallback === undefined ? (
        <IconButton icon={closeIcon} label={`Remove ${label}`} onClick={props.onRemove} />
      ) : (
        <span className="hm-Row-gap" />
      )}
      <ProblemList id={id} problems={problems} />
    </div>
  );
}
