// @ts-check
/** Long lists: page by page, filtered, kept up to date. */
import { ApiError, ask } from './api.js';
import { button, choice, field, fill, h, input } from './dom.js';
import { makeTable } from './table.js';

const PAGE = 50;
const MOST = 200;
const PAUSE_MILLIS = 250;

/**
 * @typedef {object} Filter
 * @property {string} name of the query parameter
 * @property {string} label
 * @property {[string, string][]} [options] of a choice; otherwise it is a text
 * @property {string[]} [suggestions]
 * @property {string} [type] of the input
 */

/**
 * Make a list below its filters.
 *
 * @param {object} options
 * @param {string} options.path
 * @param {Filter[]} [options.filters]
 * @param {Record<string, any>} [options.fixed] parameters that are always sent
 * @param {(query: Record<string, any>) => Record<string, any>} [options.translate]
 * @param {Parameters<typeof makeTable>[0]} options.table
 * @param {(values: Record<string, string>) => void} [options.changed] told of the filters
 * @param {(query: Record<string, any>) => import('./dom.js').Child} [options.beside] shown beside
 */
export function makeListing({ path, filters = [], fixed = {}, translate, table, changed, beside }) {
  const shown = makeTable(table);
  const trouble = h('div', { role: 'alert' });
  const more = button('Show more', () => load({ after: cursor }), {
    key: 'more'
  });
  const extra = h('div', { class: 'himalia-beside' });
  const form = h('form', {
    class: 'himalia-filters',
    role: 'search',
    'aria-label': `Filter: ${table.caption}`,
    onsubmit: (/** @type {Event} */ event) => {
      event.preventDefault();
      void load();
    }
  });
  const node = h('div', { class: 'himalia-listing' }, form, trouble, shown.node, more);
  /** @type {Record<string, string>} */
  let values = {};
  /** @type {any[]} */
  let items = [];
  /** @type {string | null} */
  let cursor = null;
  /** @type {AbortController | null} */
  let asking = null;
  let timer = 0;

  more.hidden = true;

  function query() {
    const said = { ...fixed, ...values };
    return translate ? translate(said) : said;
  }

  /** @param {string} name @param {string} value */
  function set(name, value) {
    values = { ...values, [name]: value };
    changed?.(values);
    clearTimeout(timer);
    timer = window.setTimeout(() => void load(), PAUSE_MILLIS);
  }

  /** @param {Filter} filter */
  function control(filter) {
    const value = values[filter.name] ?? '';
    if (filter.options) {
      return field(
        filter.label,
        choice(filter.options, value, chosen => set(filter.name, chosen))
      );
    }
    const text = input({
      type: filter.type ?? 'search',
      value,
      maxlength: 200,
      oninput: () => set(filter.name, text.value)
    });
    const made = field(filter.label, text);
    if (filter.suggestions?.length) {
      const id = `${text.id}-list`;
      text.setAttribute('list', id);
      made.append(
        h(
          'datalist',
          { id },
          filter.suggestions.map(one => h('option', { value: one }))
        )
      );
    }
    return made;
  }

  /**
   * Load the first page, the one after `after`, or as much as is shown.
   *
   * @param {{ after?: string | null, again?: boolean }} [how]
   */
  async function load({ after = null, again = false } = {}) {
    if (again && asking) {
      return;
    }
    asking?.abort();
    const mine = (asking = new AbortController());
    const limit = again ? Math.min(MOST, Math.max(PAGE, items.length)) : PAGE;
    if (!again) {
      node.setAttribute('aria-busy', 'true');
    }
    try {
      const page = await ask('GET', path, {
        query: { ...query(), limit, cursor: after },
        signal: mine.signal
      });
      // What is beyond the longest page stays as it was loaded.
      const rest = again && items.length > limit ? items.slice(limit) : [];
      const fresh = new Set(page.items.map(table.key));
      items = after
        ? [...items, ...page.items.filter((/** @type {any} */ one) => !known(one))]
        : [...page.items, ...rest.filter(one => !fresh.has(table.key(one)))];
      cursor = rest.length ? cursor : page.next_cursor;
      fill(trouble);
      fill(extra, beside?.(query()));
      shown.update(items);
      more.hidden = !cursor;
    } catch (error) {
      if (!mine.signal.aborted) {
        fail(error);
      }
    } finally {
      if (asking === mine) {
        asking = null;
        node.removeAttribute('aria-busy');
      }
    }
  }

  /** @param {any} item */
  const known = item => items.some(one => table.key(one) === table.key(item));

  /** @param {unknown} error */
  function fail(error) {
    const text = error instanceof ApiError ? error.message : 'Something went wrong on this page.';
    fill(
      trouble,
      h(
        'div',
        { class: 'alert alert-danger himalia-trouble' },
        h('span', {}, text),
        button('Try again', () => load())
      )
    );
  }

  return {
    node,
    /** @param {Record<string, string>} found */
    async open(found) {
      values = Object.fromEntries(
        filters.map(filter => [filter.name, found[filter.name] ?? '']).filter(([, one]) => one)
      );
      fill(form, filters.map(control), extra);
      await load();
    },
    refresh: () => load({ again: true })
  };
}
