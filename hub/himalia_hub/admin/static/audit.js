// @ts-check
/** Who did what. */
import { address } from './api.js';
import { h } from './dom.js';
import { moment } from './format.js';
import { makeListing } from './listing.js';

/** @param {Record<string, any>} query */
function times({ since, until, ...others }) {
  return {
    ...others,
    since: since ? new Date(`${since}T00:00:00`).toISOString() : null,
    // The whole of its last day.
    until: until
      ? new Date(new Date(`${until}T00:00:00`).getTime() + 86_400_000).toISOString()
      : null
  };
}

/** @param {Record<string, any>} details */
function told(details) {
  return Object.entries(details)
    .filter(([, value]) => value !== null && value !== '')
    .map(([name, value]) => `${name}: ${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join(' · ');
}

/** @param {import('./main.js').Context} context @returns {import('./main.js').Tab} */
export function makeAudit(context) {
  const listing = makeListing({
    path: 'audit',
    filters: [
      { name: 'search', label: 'Search' },
      { name: 'since', label: 'From', type: 'date' },
      { name: 'until', label: 'To', type: 'date' }
    ],
    translate: times,
    changed: values => context.keep(values),
    beside: query =>
      h(
        'a',
        {
          class: 'btn btn-sm btn-outline-secondary',
          href: address('audit.csv', query),
          download: ''
        },
        'Export CSV'
      ),
    table: {
      caption: 'Audit log, the youngest first',
      key: entry => entry.id,
      empty: 'Nothing is in the log for this choice.',
      columns: [
        { title: 'When', cell: entry => moment(entry.at) },
        {
          title: 'Who',
          heads: true,
          cell: entry => h('span', { class: 'himalia-name' }, entry.actor)
        },
        { title: 'Did', cell: entry => h('code', {}, entry.action) },
        {
          title: 'Whose',
          cell: entry => h('span', { class: 'himalia-name' }, entry.name || entry.owner || '–')
        },
        {
          title: 'What',
          cell: entry => [
            h('span', { class: 'himalia-name' }, told(entry.details)),
            h('small', { class: 'himalia-id' }, entry.object_id)
          ]
        }
      ]
    }
  });
  return { id: 'audit', title: 'Audit', restMillis: 3000, ...listing };
}
