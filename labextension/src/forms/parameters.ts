import type { Parameters } from '../model';

/** How a parameter's text is read. */
export type ParameterType = 'text' | 'number' | 'boolean' | 'json';

/** One parameter as the form holds it. */
export interface IParameterRow {
  name: string;
  type: ParameterType;
  text: string;
  /** What the notebook itself sets; such a parameter is sent only when it is changed. */
  fallback?: string;
  fallbackType?: ParameterType;
}

const ASSIGNMENT = /^([^\W\d]\w*)\s*(?::[^=]+)?(?:=|<-)\s*(.+?)\s*(?:#.*)?$/u;

/** Find the parameters cell of a notebook and read the simple assignments in it. */
export function readParameters(notebook: unknown): IParameterRow[] {
  const cells = (notebook as { cells?: unknown[] } | null)?.cells;
  for (const cell of Array.isArray(cells) ? cells : []) {
    const { metadata, source } = cell as { metadata?: { tags?: unknown }; source?: unknown };
    if (Array.isArray(metadata?.tags) && metadata.tags.includes('parameters')) {
      return parseAssignments(Array.isArray(source) ? source.join('') : String(source ?? ''));
    }
  }
  return [];
}

/** Read lines like `alpha = 0.5`; what is not a plain value is left out. */
export function parseAssignments(source: string): IParameterRow[] {
  const rows = new Map<string, IParameterRow>();
  for (const line of source.split('\n')) {
    const [, name, written] = ASSIGNMENT.exec(line) ?? [];
    const value = written === undefined ? undefined : literal(written.replace(/;$/, ''));
    if (name !== undefined && value !== undefined) {
      const row = rowOf(name, value);
      rows.set(name, { ...row, fallback: row.text, fallbackType: row.type });
    }
  }
  return [...rows.values()];
}

/** Show a value of a parameter in a row. */
export function rowOf(name: string, value: unknown): IParameterRow {
  if (typeof value === 'string') {
    return { name, type: 'text', text: value };
  }
  const text = JSON.stringify(value);
  const type = typeof value === 'number' || typeof value === 'boolean' ? typeof value : 'json';
  return { name, type: type as ParameterType, text };
}

/** Put the values of a job over what its notebook sets by itself. */
export function mergeRows(own: IParameterRow[], given: Parameters): IParameterRow[] {
  const names = new Set(own.map(row => row.name));
  return [
    ...own.map(row => (row.name in given ? { ...row, ...rowOf(row.name, given[row.name]) } : row)),
    ...Object.entries(given)
      .filter(([name]) => !names.has(name))
      .map(([name, value]) => rowOf(name, value))
  ];
}

/** Tell whether a row says something other than its notebook does by itself. */
export function isGiven(row: IParameterRow): boolean {
  return row.fallback === undefined || row.text !== row.fallback || row.type !== row.fallbackType;
}

/** Read one row's value; throws an Error that says what is expected. */
export function valueOf(row: IParameterRow): Parameters[string] {
  const text = row.text.trim();
  switch (row.type) {
    case 'text':
      return row.text;
    case 'number':
      if (text === '' || !Number.isFinite(Number(text))) {
        throw new Error('This is not a number.');
      }
      return Number(text);
    case 'boolean':
      return text === 'true';
    case 'json':
      try {
        return JSON.parse(text);
      } catch {
        throw new Error('This is not JSON: write ["a", "b"], {"a": 1} or null.');
      }
  }
}

function literal(written: string): unknown {
  const words: Record<string, unknown> = {
    True: true,
    TRUE: true,
    true: true,
    False: false,
    FALSE: false,
    false: false,
    None: null,
    NULL: null,
    nothing: null
  };
  if (written in words) {
    return words[written];
  }
  const quoted = /^(["'])([^"'\\]*)\1$/.exec(written);
  if (quoted) {
    return quoted[2];
  }
  const number = /^[-+]?\d[\d_]*(\.\d*)?([eE][-+]?\d+)?$/.test(written)
    ? Number(written.replace(/_/g, ''))
    : NaN;
  if (Number.isFinite(number)) {
    return number;
  }
  try {
    return /^[[{]/.test(written) ? JSON.parse(written.replace(/'/g, '"')) : undefined;
  } catch {
    return undefined;
  }
}
