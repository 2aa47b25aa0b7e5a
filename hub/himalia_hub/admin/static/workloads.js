// @ts-check
/** Everybody's workloads. */
import { ask } from './api.js';
import { confirm } from './dialog.js';
import { button, h } from './dom.js';
import { badge, moment } from './format.js';
import { makeListing } from './listing.js';
import { KIND_OPTIONS, groupFilter } from './runs.js';

/** @param {any} row */
const named = row => `${row.workload.name} of ${row.name || row.workload.owner}`;

/** @param {import('./main.js').Context} context @param {any} row */
async function remove(context, row) {
  const isDone = await confirm({
    title: `Delete ${named(row)}?`,
    content: [
      h(
        'p',
        {},
        'Its schedules, its runs and all their files are deleted with it. This cannot be undone.'
      )
    ],
    action: `Delete the ${row.workload.kind}`,
    destroys: true,
    act: () => ask('DELETE', `workloads/${row.workload.id}`)
  });
  if (isDone) {
    context.say(`${named(row)} is deleted.`);
    await context.refresh();
  }
}

/** @param {import('./main.js').Context} context @returns {import('./main.js').Tab} */
export function makeWorkloads(context) {
  const listing = makeListing({
    path: 'workloads',
    filters: [
      { name: 'search', label: 'Search' },
      { name: 'kind', label: 'Kind', options: KIND_OPTIONS },
      groupFilter(context)
    ],
    changed: values => context.keep(values),
    table: {
      caption: 'Workloads of everybody',
      key: row => row.workload.id,
      empty: 'No workload matches.',
      columns: [
        {
          title: 'Workload',
          heads: true,
          cell: row => [
            h('span', { class: 'himalia-name' }, row.workload.name),
            h('small', { class: 'himalia-id' }, `${row.workload.kind} · ${row.workload.id}`)
          ]
        },
        {
          title: 'Owner',
          cell: row => h('span', { class: 'himalia-name' }, row.name || row.workload.owner)
        },
        { title: 'Project', cell: row => row.workload.spec.project || '–' },
        {
          title: 'Latest run',
          cell: row => {
            const last = row.workload.last_run;
            return last
              ? [badge(last.status), ' ', moment(last.ended_at ?? last.created_at)]
              : h('span', { class: 'text-body-secondary' }, 'never run');
          }
        },
        { title: 'Made', cell: row => moment(row.workload.created_at) },
        {
          title: 'Action',
          acts: true,
          cell: row =>
            context.rights.may_write &&
            button('Delete', () => remove(context, row), {
              kind: 'outline-danger',
              name: `Delete ${named(row)}`,
              key: 'delete'
            })
        }
      ]
    }
  });
  return { id: 'workloads', title: 'Workloads', ...listing };
}
