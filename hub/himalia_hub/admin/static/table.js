// @ts-check
/** Tables that change under the reader's hands without losing focus or place. */
import { fill, h } from './dom.js';

/**
 * @typedef {object} Column
 * @property {string} title
 * @property {(row: any) => import('./dom.js').Child | import('./dom.js').Child[]} cell
 * @property {boolean} [numeric]
 * @property {boolean} [heads] whether it names the row
 * @property {boolean} [acts] whether it holds buttons
 */

/**
 * Make a table.
 *
 * @param {{ caption: string, columns: Column[], key: (row: any) => string, empty: string }} options
 */
export function makeTable({ caption, columns, key, empty }) {
  const body = h('tbody');
  const nothing = h('p', { class: 'himalia-empty', hidden: true }, empty);
  const head = h(
    'thead',
    {},
    h(
      'tr',
      {},
      columns.map(column => h('th', { scope: 'col', class: aligned(column) }, column.title))
    )
  );
  const table = h(
    'table',
    { class: 'table table-hover align-middle' },
    h('caption', { class: 'visually-hidden' }, caption),
    head,
    body
  );
  const node = h('div', { class: 'himalia-scroll', tabindex: '-1' }, table, nothing);
  /** @type {Map<string, { row: HTMLElement, said: string }>} */
  let shown = new Map();

  /** @param {any} item */
  const cells = item =>
    columns.map(column => {
      const content = column.cell(item);
      const made = column.heads ? h('th', { scope: 'row' }) : h('td', { class: aligned(column) });
      fill(made, ...(Array.isArray(content) ? content : [content]));
      return made;
    });

  /** @param {any[]} items */
  function update(items) {
    const held = focused(body);
    /** @type {Map<string, { row: HTMLElement, said: string }>} */
    const next = new Map();
    items.forEach((item, index) => {
      const id = key(item);
      const said = JSON.stringify([index, item]);
      const known = shown.get(id);
      const row = known?.row ?? h('tr', { 'data-key': id });
      if (known?.said !== said) {
        row.replaceChildren(...cells(item));
      }
      if (body.children[index] !== row) {
        body.insertBefore(row, body.children[index] ?? null);
      }
      next.set(id, { row, said });
    });
    while (body.children.length > items.length) {
      body.lastElementChild?.remove();
    }
    shown = next;
    nothing.hidden = items.length > 0;
    table.hidden = items.length === 0;
    if (held && document.activeElement === document.body) {
      const row = next.get(held.key)?.row;
      const again = row?.querySelector(`[data-act="${CSS.escape(held.act)}"]`);
      (again instanceof HTMLElement ? again : node).focus({
        preventScroll: true
      });
    }
  }

  return { node, update };
}

/** @param {Column} column */
const aligned = column => (column.numeric || column.acts) && 'text-end text-nowrap';

/**
 * Return which control of which row has the focus.
 *
 * @param {HTMLElement} body
 */
function focused(body) {
  const active = document.activeElement;
  if (!(active instanceof HTMLElement) || !body.contains(active)) {
    return null;
  }
  const row = active.closest('tr');
  return {
    key: row?.getAttribute('data-key') ?? '',
    act: active.getAttribute('data-act') ?? ''
  };
}
