// @ts-check
/** People, their servers, and what they run. */
import { ask } from './api.js';
import { confirm } from './dialog.js';
import { button, field, h, input } from './dom.js';
import { full, moment, number } from './format.js';
import { makeListing } from './listing.js';
import { groupFilter } from './runs.js';

/** @param {import('./main.js').Context} context @param {any} row @param {any} server */
async function stopServer(context, row, server) {
  const { person } = row;
  const owner = encodeURIComponent(person.owner);
  const path = server.name
    ? `people/${owner}/servers/${encodeURIComponent(server.name)}`
    : `people/${owner}/server`;
  const title = server.name ? `server ${server.name}` : 'server';
  const isDone = await confirm({
    title: `Stop the ${title} of ${person.name}?`,
    content: [
      h(
        'p',
        {},
        server.busy_kernels
          ? `${server.busy_kernels} of its kernels are busy; what they compute is lost. `
          : 'What its kernels have in memory is lost. ',
        'Runs go on.'
      )
    ],
    action: 'Stop the server',
    destroys: true,
    act: () => ask('DELETE', path)
  });
  if (isDone) {
    context.say(`The ${title} of ${person.name} is being stopped.`);
    await context.refresh();
  }
}

/** @param {import('./main.js').Context} context @param {any} row */
async function transfer(context, row) {
  const { person } = row;
  const heir = input({ required: true, maxlength: 200, spellcheck: 'false' });
  let moved = 0;
  const isDone = await confirm({
    title: `Transfer everything of ${person.name}`,
    content: [
      h(
        'p',
        {},
        `All ${row.workloads} workloads of ${person.name}, with their runs and schedules, become `,
        'somebody else’s. Runs must have ended.'
      ),
      field('New owner', heir, 'Name of a user of this hub')
    ],
    action: 'Transfer',
    act: async () => {
      const path = `people/${encodeURIComponent(person.owner)}/transfer`;
      ({ workloads: moved } = await ask('POST', path, {
        body: { heir: heir.value.trim() }
      }));
    }
  });
  if (isDone) {
    context.say(`${moved} workloads of ${person.name} now belong to ${heir.value.trim()}.`);
    await context.refresh();
  }
}

/** @param {import('./main.js').Context} context @param {any} row */
function servers(context, row) {
  if (!row.servers.length) {
    return h('span', { class: 'text-body-secondary' }, 'none');
  }
  return h(
    'ul',
    { class: 'himalia-servers' },
    row.servers.map((/** @type {any} */ server) =>
      h(
        'li',
        {},
        h(
          'div',
          {},
          h('span', { class: `himalia-badge himalia-${server.verdict}` }, server.verdict),
          ' ',
          h('span', { class: 'himalia-name' }, server.name || 'default'),
          h('small', { class: 'himalia-why text-body-secondary' }, server.why),
          server.stop_at &&
            h(
              'small',
              { class: 'himalia-why text-body-secondary' },
              `Stops ${full(server.stop_at)}.`
            )
        ),
        context.rights.may_write &&
          button('Stop', () => stopServer(context, row, server), {
            name: `Stop the server ${server.name || 'default'} of ${row.person.name}`,
            key: `server ${server.name}`
          })
      )
    )
  );
}

/** @param {any} person */
function name(person) {
  return [
    h(
      'span',
      { class: 'himalia-name' },
      person.name,
      person.is_admin && h('span', { class: 'himalia-badge himalia-admin' }, 'admin'),
      person.gone_at && h('span', { class: 'himalia-badge himalia-failed' }, 'gone')
    ),
    h('small', { class: 'himalia-id' }, person.groups.join(', '))
  ];
}

/** @param {import('./main.js').Context} context @returns {import('./main.js').Tab} */
export function makePeople(context) {
  const listing = makeListing({
    path: 'people',
    filters: [
      { name: 'search', label: 'Search' },
      groupFilter(context),
      {
        name: 'sort',
        label: 'Order',
        options: [
          ['', 'By name'],
          ['-last_seen_at', 'Seen last, first']
        ]
      }
    ],
    changed: values => context.keep(values),
    table: {
      caption: 'People',
      key: row => row.person.owner,
      empty: 'Nobody matches.',
      columns: [
        { title: 'Person', heads: true, cell: row => name(row.person) },
        {
          title: 'Last active',
          cell: row => moment(row.person.last_seen_at)
        },
        { title: 'Servers', cell: row => servers(context, row) },
        { title: 'Running', numeric: true, cell: row => number(row.running) },
        { title: 'Waiting', numeric: true, cell: row => number(row.queued) },
        {
          title: 'Workloads',
          numeric: true,
          cell: row => number(row.workloads)
        },
        {
          title: 'Hours this month',
          numeric: true,
          cell: row => number(row.month_hours)
        },
        {
          title: 'Action',
          acts: true,
          cell: row =>
            context.rights.may_write &&
            row.workloads > 0 &&
            button('Transfer…', () => transfer(context, row), {
              name: `Transfer everything of ${row.person.name}`,
              key: 'transfer'
            })
        }
      ]
    }
  });
  return { id: 'people', title: 'People', ...listing };
}
