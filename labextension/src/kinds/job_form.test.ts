import { describe, expect, it } from 'vitest';

import { newForm, specOf } from './job_form';

describe('the form of a job', () => {
  it('sends only those parameters of the notebook that were changed', () => {
    const form = newForm('a.ipynb');
    form.parameters = [
      { name: 'same', type: 'number', text: '1', fallback: '1', fallbackType: 'number' },
      { name: 'changed', type: 'number', text: '2', fallback: '1', fallbackType: 'number' },
      { name: 'retyped', type: 'text', text: '1', fallback: '1', fallbackType: 'number' },
      { name: 'added', type: 'text', text: '' }
    ];
    expect(specOf(form).spec.parameters).toEqual({ changed: 2, retyped: '1', added: '' });
  });

  it('names the fields that cannot be read', () => {
    const form = { ...newForm(''), timeout: 'soon', retries: '-1' };
    form.parameters = [{ name: 'x', type: 'json', text: '{' }];
    expect(specOf(form).problems.map(problem => problem.field)).toEqual([
      'notebook',
      'parameters.x',
      'timeout_seconds',
      'retries.count'
    ]);
  });

  it('says in words what names may look like', () => {
    const form = { ...newForm('a.ipynb'), tags: 'good, $bad$', env: [{ name: '1X', value: '' }] };
    form.parameters = [{ name: 'a b', type: 'text', text: '' }];
    expect(specOf(form).problems.map(problem => problem.field)).toEqual([
      'parameters.a b',
      'tags',
      'env'
    ]);
  });

  it('turns durations into seconds, lines and commas into lists', () => {
    const form = { ...newForm('a.ipynb'), timeout: '1.5', files: 'data\n\n b.csv ', tags: 'a, b' };
    const { spec } = specOf({ ...form, timeoutUnit: 'h' });
    expect([spec.timeout_seconds, spec.files, spec.tags]).toEqual([
      5400,
      ['data', 'b.csv'],
      ['a', 'b']
    ]);
  });

  it('books on a project and asks for cores and memory', () => {
    const form = { ...newForm('a.ipynb'), project: ' grant 42 ', cpu: '1.5', memory: '0.5' };
    const { spec, problems } = specOf(form);
    expect(problems).toEqual([]);
    expect([spec.project, spec.resources]).toEqual([
      'grant 42',
      { cpu: 1.5, memory_bytes: 2 ** 29 }
    ]);
    expect(specOf(newForm('a.ipynb')).spec.resources).toEqual({ cpu: null, memory_bytes: null });
    const wrong = { ...form, project: 'a;b', memory: 'much' };
    expect(specOf(wrong).problems.map(({ field }) => field)).toEqual([
      'project',
      'resources.memory_bytes'
    ]);
  });

  it('asks for no message where no address was given', () => {
    expect(specOf({ ...newForm('a.ipynb'), secret: 'very secret' }).spec.notify).toEqual([]);
  });
});
