import { describe, expect, it } from 'vitest';

import { mergeRows, parseAssignments, readParameters, valueOf } from './parameters';

function notebook(source: unknown, tags: string[] = ['parameters']): unknown {
  return { cells: [{ cell_type: 'code', metadata: { tags }, source }] };
}

describe('the parameters cell', () => {
  it('gives its simple assignments with their types', () => {
    const rows = parseAssignments(
      "alpha = 0.5  # the step\nname: str = 'world'\nfast = True\nitems = [1, 2]\nlimit <- 10"
    );
    expect(rows.map(({ name, type, text }) => [name, type, text])).toEqual([
      ['alpha', 'number', '0.5'],
      ['name', 'text', 'world'],
      ['fast', 'boolean', 'true'],
      ['items', 'json', '[1,2]'],
      ['limit', 'number', '10']
    ]);
  });

  it('leaves out what has to be computed', () => {
    expect(parseAssignments('a = b + 1\nimport os\nc = os.environ["X"]\nd = f"{a}"')).toEqual([]);
  });

  it('is found by its tag, as text or as lines', () => {
    expect(readParameters(notebook(['x = 1\n', 'y = 2'])).map(row => row.name)).toEqual(['x', 'y']);
    expect(readParameters(notebook('x = 1', []))).toEqual([]);
  });

  it.each([null, {}, { cells: 3 }, { cells: [{}] }])('may be missing: %j', broken => {
    expect(readParameters(broken)).toEqual([]);
  });
});

it('puts the values of a job over those of the notebook', () => {
  const rows = mergeRows(parseAssignments('x = 1\ny = 2'), { y: 3, z: 'new' });
  expect(rows.map(({ name, text, fallback }) => [name, text, fallback])).toEqual([
    ['x', '1', '1'],
    ['y', '3', '2'],
    ['z', 'new', undefined]
  ]);
});

describe('a typed value', () => {
  it('keeps text as it is', () => {
    expect(valueOf({ name: 'a', type: 'text', text: ' 1 ' })).toBe(' 1 ');
  });
  it('says what is expected where it cannot be read', () => {
    expect(() => valueOf({ name: 'a', type: 'number', text: 'ten' })).toThrow('not a number');
    expect(() => valueOf({ name: 'a', type: 'json', text: '[1,' })).toThrow('not JSON');
  });
});
