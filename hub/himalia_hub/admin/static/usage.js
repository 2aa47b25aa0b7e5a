// @ts-check
/** What was used in a month, by whom or by what. */
import { ApiError, address, ask } from './api.js';
import { choice, field, fill, h, input } from './dom.js';
import { number } from './format.js';
import { makeTable } from './table.js';

/** @type {[string, string][]} */
const BY = [
  ['owner', 'User'],
  ['group', 'Group'],
  ['project', 'Project'],
  ['kind', 'Kind']
];

const thisMonth = () => new Date().toISOString().slice(0, 7);

/**
 * Return the ends of a calendar month in UTC, as quotas count it.
 *
 * @param {string} month
 */
function span(month) {
  const [year = 1970, index = 1] = month.split('-').map(Number);
  return {
    since: new Date(Date.UTC(year, index - 1, 1)).toISOString(),
    until: new Date(Date.UTC(year, index, 1)).toISOString()
  };
}

/** @param {import('./main.js').Context} context @returns {import('./main.js').Tab} */
export function makeUsage(context) {
  let values = { by: 'owner', month: thisMonth() };
  let most = 1;
  const trouble = h('div', { role: 'alert' });
  const form = h('form', { class: 'himalia-filters', 'aria-label': 'Usage' });
  const table = makeTable({
    caption: 'Usage, the largest first',
    key: total => total.subject,
    empty: 'Nothing was used in this month.',
    columns: [
      {
        title: 'What',
        heads: true,
        cell: total => h('span', { class: 'himalia-name' }, total.name || total.subject || '(none)')
      },
      {
        title: 'Share',
        cell: total =>
          h('progress', {
            class: 'himalia-share',
            max: most,
            value: total.hours,
            'aria-label': `${number(total.hours)} hours`
          })
      },
      { title: 'Hours', numeric: true, cell: total => number(total.hours) },
      {
        title: 'CPU hours used',
        numeric: true,
        cell: total => number(total.cpu_hours)
      },
      {
        title: 'CPU hours asked',
        numeric: true,
        cell: total => number(total.asked_cpu_hours)
      },
      {
        title: 'GiB hours asked',
        numeric: true,
        cell: total => number(total.asked_memory_gib_hours)
      },
      {
        title: 'Entries',
        numeric: true,
        cell: total => number(total.entries)
      }
    ]
  });
  const node = h('div', {}, form, trouble, table.node);

  function change() {
    context.keep(values);
    draw();
    void refresh();
  }

  /** Only the link depends on what was chosen; fields that have the focus stay. */
  const link = h('a', { class: 'btn btn-sm btn-outline-secondary', download: '' }, 'Export CSV');
  function draw() {
    link.setAttribute('href', address('usage.csv', span(values.month)));
  }

  async function refresh() {
    try {
      const query = { by: values.by, ...span(values.month) };
      const { items } = await ask('GET', 'usage', { query });
      most = Math.max(...items.map((/** @type {any} */ total) => total.hours), 0.001);
      table.update(items);
      fill(trouble);
    } catch (error) {
      const text = error instanceof ApiError ? error.message : 'Something went wrong.';
      fill(trouble, h('div', { class: 'alert alert-danger' }, text));
    }
  }

  return {
    id: 'usage',
    title: 'Usage',
    node,
    restMillis: 5000,
    refresh,
    /** @param {Record<string, string>} found */
    async open(found) {
      const isMonth = /^\d{4}-(0[1-9]|1[0-2])$/.test(found.month ?? '');
      values = {
        by: BY.some(([by]) => by === found.by) ? (found.by ?? 'owner') : 'owner',
        month: isMonth ? (found.month ?? '') : thisMonth()
      };
      const month = input({
        type: 'month',
        value: values.month,
        max: thisMonth(),
        required: true,
        pattern: '[0-9]{4}-[0-9]{2}',
        onchange: () => {
          if (month.value && month.checkValidity()) {
            values = { ...values, month: month.value };
            change();
          }
        }
      });
      const by = choice(BY, values.by, chosen => {
        values = { ...values, by: chosen };
        change();
      });
      fill(
        form,
        field('Month (UTC)', month),
        field('By', by),
        h('div', { class: 'himalia-beside' }, link)
      );
      draw();
      await refresh();
    }
  };
}
