import * as React from 'react';

import type { IProblem } from '../api';

const ProblemsContext = React.createContext<IProblem[]>([]);

/** Tells the fields below what is wrong with them. */
export const Problems = ProblemsContext.Provider;

/** What a control needs to be tied to its label, help and error. */
export interface IControl {
  id: string;
  className: string;
  'aria-describedby'?: string;
  'aria-invalid'?: boolean;
}

/** Give what is wrong with one field, or with anything in it. */
export function useProblems(path: string): IProblem[] {
  return problemsOf(React.useContext(ProblemsContext), path);
}

/** Pick the problems of one field, or of anything in it. */
export function problemsOf(problems: IProblem[], path: string): IProblem[] {
  return problems.filter(({ field }) => {
    const plain = field.replace(/^spec\./, '');
    return plain === path || plain.startsWith(`${path}.`);
  });
}

/** A labelled control with its help and what is wrong with it. */
export function Field(props: {
  label: string;
  path: string;
  help?: React.ReactNode;
  children: (control: IControl) => React.ReactNode;
}): React.ReactElement {
  const id = React.useId();
  const problems = useProblems(props.path);
  const described = [props.help ? `${id}-help` : '', problems.length > 0 ? `${id}-error` : '']
    .filter(Boolean)
    .join(' ');
  return (
    <div className="hm-Field">
      <label htmlFor={id}>{props.label}</label>
      {props.children({
        id,
        className: 'hm-Input',
        'aria-describedby': described || undefined,
        'aria-invalid': problems.length > 0 || undefined
      })}
      {props.help && (
        <p id={`${id}-help`} className="hm-Field-help">
          {props.help}
        </p>
      )}
      <ProblemList id={`${id}-error`} problems={problems} />
    </div>
  );
}

/** What is wrong, at the place where it is. */
export function ProblemList(props: {
  id?: string;
  problems: IProblem[];
}): React.ReactElement | null {
  if (props.problems.length === 0) {
    return null;
  }
  return (
    <p id={props.id} className="hm-Field-error">
      {props.problems.map(problem => problem.message).join(' ')}
    </p>
  );
}

/** A field of one line. */
export function TextField(props: {
  label: string;
  path: string;
  value: string;
  onChange: (value: string) => void;
  help?: React.ReactNode;
  placeholder?: string;
  type?: 'text' | 'number' | 'password' | 'email' | 'url';
  isRequired?: boolean;
  list?: string;
}): React.ReactElement {
  return (
    <Field label={props.label} path={props.path} help={props.help}>
      {control => (
        <input
          {...control}
          type={props.type ?? 'text'}
          min={props.type === 'number' ? 0 : undefined}
          step={props.type === 'number' ? 'any' : undefined}
          value={props.value}
          required={props.isRequired}
          placeholder={props.placeholder}
          list={props.list}
          autoComplete="off"
          spellCheck={false}
          onChange={event => props.onChange(event.target.value)}
        />
      )}
    </Field>
  );
}

/** A field with one entry a line. */
export function LinesField(props: {
  label: string;
  path: string;
  value: string;
  onChange: (value: string) => void;
  help?: React.ReactNode;
}): React.ReactElement {
  return (
    <Field label={props.label} path={props.path} help={props.help}>
      {control => (
        <textarea
          {...control}
          rows={2}
          value={props.value}
          spellCheck={false}
          onChange={event => props.onChange(event.target.value)}
        />
      )}
    </Field>
  );
}

/** A field with a few choices. */
export function ChoiceField<T extends string>(props: {
  label: string;
  path: string;
  value: T;
  onChange: (value: T) => void;
  choices: readonly (readonly [T, string])[];
  help?: React.ReactNode;
}): React.ReactElement {
  return (
    <Field label={props.label} path={props.path} help={props.help}>
      {control => (
        <select
          {...control}
          value={props.value}
          onChange={event => props.onChange(event.target.value as T)}
        >
          {props.choices.map(([value, label]) => (
            <option key={value} value={value}>
              {label}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}

/** A box to tick. */
export function CheckField(props: {
  label: React.ReactNode;
  value: boolean;
  onChange: (value: boolean) => void;
}): React.ReactElement {
  return (
    <label className="hm-Check">
      <input
        type="checkbox"
        checked={props.value}
        onChange={event => props.onChange(event.target.checked)}
      />
      {props.label}
    </label>
  );
}

/** A part of a form that can be folded away; it opens itself where something in it is wrong. */
export function Section(props: {
  title: string;
  note?: string;
  isOpen?: boolean;
  paths: readonly string[];
  children: React.ReactNode;
}): React.ReactElement {
  const problems = React.useContext(ProblemsContext);
  const isWrong = props.paths.some(path => problemsOf(problems, path).length > 0);
  const [isOpen, setOpen] = React.useState(props.isOpen ?? false);
  React.useEffect(() => {
    if (isWrong) {
      setOpen(true);
    }
  }, [isWrong, problems]);
  return (
    <details
      className="hm-Section"
      open={isOpen}
      onToggle={event => setOpen(event.currentTarget.open)}
    >
      <summary>
        {props.title}
        {props.note && <span className="hm-Quiet">{props.note}</span>}
      </summary>
      <div className="hm-Section-body">{props.children}</div>
    </details>
  );
}
