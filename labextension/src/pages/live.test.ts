import { expect, it } from 'vitest';

import type { CellEvent, Run, RunEvent } from '../model';
import { inOrder } from './graph';
import { apply, ILive } from './live';

const START: ILive = {
  run: null,
  cells: [],
  log: '',
  isCut: false,
  outputs: [],
  isComplete: false,
  error: null
};

function event(part: object): RunEvent {
  return { id: '1', type: 'log', run: null, cell: null, log: null, ...part };
}

function cell(index: number, state: CellEvent['state']): RunEvent {
  return event({ cell: { index, state, at: '', seconds: null, name: '' } });
}

function run(attempt: number): RunEvent {
  return event({ run: { attempt, status: 'running' } as Run });
}

it('keeps of each cell what happened last, in their order', () => {
  const live = [cell(2, 'running'), cell(0, 'done'), cell(2, 'done')].reduce(apply, START);
  expect(live.cells.map(one => [one.index, one.state])).toEqual([
    [0, 'done'],
    [2, 'done']
  ]);
});

it('begins anew with a new attempt', () => {
  const live = [run(1), event({ log: 'first' }), cell(0, 'failed'), run(2)].reduce(apply, START);
  expect([live.log, live.cells]).toEqual(['', []]);
});

it('keeps the log when the first attempt starts', () => {
  expect([run(0), event({ log: 'first' }), run(1)].reduce(apply, START).log).toBe('first');
});

it('keeps only the end of an endless log', () => {
  const events = Array.from({ length: 30 }, () => event({ log: 'x'.repeat(50_000) }));
  const live = events.reduce(apply, START);
  expect(live.log.length).toBeLessThanOrEqual(1_000_000);
  expect(live.isCut).toBe(true);
});

it('puts every job of a pipeline after those it waits for, cycles or not', () => {
  const node = (workload_id: string) => ({ workload_id, name: '', status: null, run_id: null });
  const edge = (upstream: string, downstream: string) => ({
    upstream,
    downstream,
    on: 'success' as const
  });
  const ordered = inOrder({
    nodes: [node('c'), node('b'), node('a')],
    edges: [edge('a', 'b'), edge('b', 'c')]
  });
  expect(ordered.map(one => [one.node.workload_id, one.depth])).toEqual([
    ['a', 0],
    ['b', 1],
    ['c', 2]
  ]);
  const cycle = { nodes: [node('a'), node('b')], edges: [edge('a', 'b'), edge('b', 'a')] };
  expect(inOrder(cycle)).toHaveLength(2);
});
