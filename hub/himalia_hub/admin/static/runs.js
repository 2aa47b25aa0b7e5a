// @ts-check
/** Everybody's runs, and those that wait. */
import { ask } from './api.js';
import { confirm } from './dialog.js';
import { button, h } from './dom.js';
import { badge, lasted, moment, why } from './format.js';
import { makeListing } from './listing.js';

const ENDED = ['succeeded', 'failed', 'stopped', 'skipped'];
const ACTIVE = ['starting', 'running', 'stopping'];
const WAITING = ['queued', 'waiting'];
/** @type {Record<string, string[]>} */
const STATUSES = { active: ACTIVE, waiting: WAITING, ended: ENDED };

/** @type {[string, string][]} */
const STATUS_OPTIONS = [
  ['', 'Any'],
  ['active', 'Active'],
  ['waiting', 'Waiting'],
  ['failed', 'Failed'],
  ['succeeded', 'Succeeded'],
  ['stopped', 'Stopped'],
  ['skipped', 'Skipped'],
  ['ended', 'Ended']
];

/** @type {[string, string][]} */
export const KIND_OPTIONS = [
  ['', 'Any'],
  ['job', 'Jobs']
];

/** @param {import('./main.js').Context} context @returns {import('./listing.js').Filter} */
export const groupFilter = context => ({
  name: 'group',
  label: 'Group',
  suggestions: context.rights.groups ?? []
});

/** @param {any} row */
const named = row => `${row.run.workload_name} of ${row.name || row.run.owner}`;

/** @param {import('./main.js').Context} context @param {any} row */
function act(context, row) {
  const { run } = row;
  if (!context.rights.may_write) {
    return null;
  }
  if (ENDED.includes(run.status)) {
    return button('Delete', () => remove(context, row), {
      kind: 'outline-danger',
      name: `Delete the run ${named(row)}`,
      key: 'delete'
    });
  }
  if (run.target === 'stop') {
    return h('span', { class: 'text-body-secondary' }, 'stopping…');
  }
  return button('Stop', () => stop(context, row), {
    name: `Stop the run ${named(row)}`,
    key: 'stop'
  });
}

/** @param {import('./main.js').Context} context @param {any} row */
async function stop(context, row) {
  const isDone = await confirm({
    title: `Stop ${named(row)}?`,
    content: [
      h('p', {}, 'It is asked to end, and ended after its grace time. Its owner sees who did it.')
    ],
    action: 'Stop the run',
    destroys: true,
    act: () => ask('POST', `runs/${row.run.id}/stop`)
  });
  if (isDone) {
    context.say(`${named(row)} is being stopped.`);
    await context.refresh();
  }
}

/** @param {import('./main.js').Context} context @param {any} row */
async function remove(context, row) {
  const isDone = await confirm({
    title: `Delete the run ${named(row)}?`,
    content: [h('p', {}, 'Its outputs and its log are deleted with it. This cannot be undone.')],
    action: 'Delete the run',
    destroys: true,
    act: () => ask('DELETE', `runs/${row.run.id}`)
  });
  if (isDone) {
    context.say(`The run ${named(row)} is deleted.`);
    await context.refresh();
  }
}

const run = {
  title: 'Run',
  heads: true,
  cell: (/** @type {any} */ row) => [
    h('span', { class: 'himalia-name' }, row.run.workload_name),
    h('small', { class: 'himalia-id' }, `${row.run.kind} · ${row.run.id}`)
  ]
};
const owner = {
  title: 'Owner',
  cell: (/** @type {any} */ row) => h('span', { class: 'himalia-name' }, row.name || row.run.owner)
};
const status = {
  title: 'Status',
  cell: (/** @type {any} */ row) => [badge(row.run.status), why(row.run.reason)]
};
const statusAndPlace = {
  title: 'Status',
  cell: (/** @type {any} */ row) => [
    badge(row.run.status),
    row.run.position ? h('span', {}, ` no. ${row.run.position} in the queue`) : null,
    why(row.run.reason)
  ]
};

/** @param {import('./main.js').Context} context @returns {import('./main.js').Tab} */
export function makeRuns(context) {
  const listing = makeListing({
    path: 'runs',
    filters: [
      { name: 'search', label: 'Search' },
      { name: 'status', label: 'Status', options: STATUS_OPTIONS },
      { name: 'kind', label: 'Kind', options: KIND_OPTIONS },
      groupFilter(context)
    ],
    translate: ({ status: wanted, ...others }) => ({
      ...others,
      status: wanted ? (STATUSES[wanted] ?? [wanted]) : []
    }),
    changed: values => context.keep(values),
    table: {
      caption: 'Runs of everybody',
      key: row => row.run.id,
      empty: 'No run matches.',
      columns: [
        run,
        owner,
        statusAndPlace,
        { title: 'Made', cell: row => moment(row.run.created_at) },
        {
          title: 'Took',
          numeric: true,
          cell: row => lasted(row.run.started_at, row.run.ended_at)
        },
        { title: 'Action', acts: true, cell: row => act(context, row) }
      ]
    }
  });
  return { id: 'runs', title: 'Runs', ...listing };
}

/** @param {import('./main.js').Context} context @returns {import('./main.js').Tab} */
export function makeQueue(context) {
  const listing = makeListing({
    path: 'runs',
    filters: [{ name: 'search', label: 'Search' }, groupFilter(context)],
    fixed: { status: WAITING, sort: 'created_at' },
    changed: values => context.keep(values),
    table: {
      caption: 'Runs that wait, the oldest first',
      key: row => row.run.id,
      empty: 'Nothing waits.',
      columns: [
        { title: 'No.', numeric: true, cell: row => row.run.position ?? '–' },
        run,
        owner,
        status,
        { title: 'Waits since', cell: row => moment(row.run.created_at) },
        { title: 'Not before', cell: row => moment(row.run.not_before) },
        { title: 'Action', acts: true, cell: row => act(context, row) }
      ]
    }
  });
  return { id: 'queue', title: 'Queue', ...listing };
}
