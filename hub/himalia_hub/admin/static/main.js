// @ts-check
/** The admin page: its tabs, what they share, and when they are refreshed. */
import { ApiError, ask } from './api.js';
import { makeAudit } from './audit.js';
import { fill, h } from './dom.js';
import { tick } from './format.js';
import { follow } from './live.js';
import { reach, showNotice } from './notice.js';
import { makeOrphans } from './orphans.js';
import { makeOverview } from './overview.js';
import { makePeople } from './people.js';
import { makeQuotas } from './quotas.js';
import { makeQueue, makeRuns } from './runs.js';
import { makeUsage } from './usage.js';
import { makeWorkloads } from './workloads.js';

/**
 * @typedef {object} Rights
 * @property {string} name
 * @property {string[] | null} groups
 * @property {boolean} may_write
 *
 * @typedef {object} Context what tabs share
 * @property {Rights} rights
 * @property {(text: string) => void} say tells what was done
 * @property {() => Promise<void>} refresh shows the present state of the visible tab
 * @property {(notice: any) => void} notice shows what everybody is told
 * @property {(tab: string, values: Record<string, string>) => void} go
 * @property {(values: Record<string, string>) => void} keep writes filters into the address
 *
 * @typedef {object} Tab
 * @property {string} id
 * @property {string} title
 * @property {HTMLElement} node
 * @property {number} [restMillis] at least so long between two refreshes
 * @property {(values: Record<string, string>) => Promise<void>} open
 * @property {() => Promise<void>} refresh
 */

const TICK_MILLIS = 5000;
const SAID_MILLIS = 8000;
const MAKERS = [
  makeOverview,
  makeRuns,
  makeQueue,
  makeWorkloads,
  makePeople,
  makeOrphans,
  makeUsage,
  makeQuotas,
  makeAudit
];

const part = (/** @type {string} */ id) =>
  /** @type {HTMLElement} */ (document.getElementById(`himalia-${id}`));

/** @type {Map<string, Tab>} */
const tabs = new Map();
/** @type {Map<string, HTMLElement>} */
const heads = new Map();
/** @type {Tab | null} */
let current = null;
let refreshedAt = 0;
let isStale = false;
let isRefreshing = false;
let timer = 0;
let saidTimer = 0;

/** Refresh the visible tab, once, and not more often than it can bear. */
async function refresh() {
  clearTimeout(timer);
  if (!current || document.hidden || isRefreshing) {
    isStale = true;
    return;
  }
  const wait = refreshedAt + (current.restMillis ?? 0) - Date.now();
  if (wait > 0) {
    timer = window.setTimeout(() => void refresh(), wait);
    return;
  }
  isStale = false;
  isRefreshing = true;
  try {
    await current.refresh();
  } finally {
    isRefreshing = false;
    refreshedAt = Date.now();
  }
  if (isStale && !document.hidden) {
    void refresh();
  }
}

/** @param {string} text */
function say(text) {
  const said = part('said');
  said.classList.remove('visually-hidden');
  fill(said, text);
  clearTimeout(saidTimer);
  saidTimer = window.setTimeout(() => {
    said.classList.add('visually-hidden');
    fill(said);
  }, SAID_MILLIS);
}

/** Read which tab, with which filters, the address names. */
function place() {
  const [id = '', query = ''] = location.hash.slice(1).split('?');
  return {
    id: tabs.has(id) ? id : 'overview',
    values: Object.fromEntries(new URLSearchParams(query))
  };
}

/** @param {string} id @param {Record<string, string>} values */
function written(id, values) {
  const query = new URLSearchParams(Object.entries(values).filter(([, value]) => value)).toString();
  return `#${id}${query ? `?${query}` : ''}`;
}

async function show() {
  const { id, values } = place();
  current = tabs.get(id) ?? null;
  for (const [name, tab] of tabs) {
    const isShown = name === id;
    tab.node.hidden = !isShown;
    heads.get(name)?.setAttribute('aria-selected', String(isShown));
    heads.get(name)?.classList.toggle('active', isShown);
    heads.get(name)?.setAttribute('tabindex', isShown ? '0' : '-1');
  }
  refreshedAt = Date.now();
  await current?.open(values);
}

/** @param {KeyboardEvent} event */
function walk(event) {
  const ids = [...heads.keys()];
  const at = ids.findIndex(id => heads.get(id) === document.activeElement);
  const to = {
    ArrowRight: (at + 1) % ids.length,
    ArrowLeft: (at - 1 + ids.length) % ids.length,
    Home: 0,
    End: ids.length - 1
  }[event.key];
  if (at >= 0 && to !== undefined) {
    event.preventDefault();
    heads.get(ids[to] ?? '')?.focus();
  }
}

/** @param {Context} context */
function build(context) {
  const list = h('div', {
    role: 'tablist',
    class: 'nav nav-tabs himalia-tablist',
    'aria-label': 'Administration',
    onkeydown: walk
  });
  for (const make of MAKERS) {
    const tab = make(context);
    tab.node.id = `himalia-panel-${tab.id}`;
    tab.node.setAttribute('role', 'tabpanel');
    tab.node.setAttribute('aria-labelledby', `himalia-tab-${tab.id}`);
    const head = h(
      'button',
      {
        type: 'button',
        role: 'tab',
        id: `himalia-tab-${tab.id}`,
        class: 'nav-link',
        'aria-controls': tab.node.id,
        onclick: () => context.go(tab.id, {})
      },
      tab.title
    );
    tabs.set(tab.id, tab);
    heads.set(tab.id, head);
    list.append(head);
  }
  fill(part('tabs'), list, ...[...tabs.values()].map(tab => tab.node));
}

async function start() {
  /** @type {Rights} */
  const rights = await ask('GET', 'rights');
  fill(part('reach'), reach(rights));
  build({
    rights,
    say,
    refresh: async () => {
      refreshedAt = 0;
      await refresh();
    },
    notice: notice => showNotice(part('notice'), notice),
    go: (id, values) => {
      const to = written(id, values);
      if (location.hash === to) {
        void show();
      } else {
        location.hash = to;
      }
    },
    keep: values => history.replaceState(null, '', written(current?.id ?? 'overview', values))
  });
  showNotice(part('notice'), await ask('GET', 'notice'));
  window.addEventListener('hashchange', () => void show());
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden && isStale) {
      void refresh();
    }
  });
  await show();
  setInterval(tick, TICK_MILLIS);
  let isFirst = true;
  void follow(
    () => {
      // What was just loaded is what the first word of a stream would have loaded again.
      if (isFirst) {
        isFirst = false;
      } else {
        void refresh();
      }
    },
    (state, message) => {
      const live = part('live');
      live.className = `himalia-live himalia-live-${state}`;
      if (live.textContent !== message) {
        fill(live, message);
      }
    }
  );
}

start().catch(error => {
  const text = error instanceof ApiError ? error.message : 'This page could not be started.';
  fill(part('tabs'), h('div', { class: 'alert alert-danger', role: 'alert' }, text));
});
