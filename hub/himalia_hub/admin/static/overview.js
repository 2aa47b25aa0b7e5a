// @ts-check
/** The numbers, the banner and the drain mode. */
import { ApiError, ask } from './api.js';
import { confirm } from './dialog.js';
import { button, field, fill, h } from './dom.js';
import { full, number } from './format.js';
import { makeIsolation } from './isolation.js';

/** @type {[string, string, string, Record<string, string>][]} */
const NUMBERS = [
  ['running', 'Running', 'runs', { status: 'active' }],
  ['queued', 'Waiting', 'queue', {}],
  ['failed_day', 'Failed in 24 hours', 'runs', { status: 'failed' }],
  ['servers', 'Servers on', 'people', { sort: '-last_seen_at' }],
  ['people', 'People', 'people', {}],
  ['schedules', 'Schedules', 'workloads', {}]
];

/** @param {import('./main.js').Context} context @returns {import('./main.js').Tab} */
export function makeOverview(context) {
  const isFull = context.rights.may_write && context.rights.groups === null;
  const cards = h('div', { class: 'himalia-cards' });
  const trouble = h('div', { role: 'alert' });
  const about = h('p', { class: 'text-body-secondary' });
  const isolation = makeIsolation(context);
  /** @type {any} */
  let notice = null;

  for (const [key, label, tab, values] of NUMBERS) {
    cards.append(
      h(
        'button',
        {
          type: 'button',
          class: `himalia-card himalia-card-${key}`,
          'data-number': key,
          onclick: () => context.go(tab, values)
        },
        h('span', { class: 'himalia-number' }, '…'),
        h('span', {}, label)
      )
    );
  }

  /** @param {object} patch */
  async function put(patch) {
    notice = await ask('PATCH', 'notice', { body: patch });
    context.notice(notice);
    drawNotice();
  }

  const text = /** @type {HTMLTextAreaElement} */ (
    h('textarea', { class: 'form-control', rows: 3, maxlength: 2000 })
  );
  const bannerTrouble = h('div', { role: 'alert' });
  /** @param {string} banner @param {string} said */
  const announce = async (banner, said) => {
    try {
      await put({ banner });
      text.value = banner;
      fill(bannerTrouble);
      context.say(said);
    } catch (error) {
      const shown = error instanceof ApiError ? error.message : 'Something went wrong.';
      fill(bannerTrouble, h('div', { class: 'alert alert-danger' }, shown));
    }
  };
  const banner = h(
    'section',
    { class: 'himalia-box', 'aria-labelledby': 'himalia-banner' },
    h('h2', { id: 'himalia-banner' }, 'Banner'),
    field('Announcement', text, 'Everybody sees it: here, on the hub’s pages and in JupyterLab.'),
    bannerTrouble,
    h(
      'div',
      { class: 'himalia-row' },
      button('Put it up', () => announce(text.value.trim(), 'The banner is up.'), {
        kind: 'primary'
      }),
      button('Take it down', () => announce('', 'The banner is taken down.'))
    )
  );

  const drain = h(
    'button',
    {
      type: 'button',
      role: 'switch',
      class: 'himalia-switch',
      'aria-checked': 'false',
      'aria-labelledby': 'himalia-drain',
      onclick: () => void toggle()
    },
    h('span', { class: 'himalia-knob' })
  );
  const drainWords = h('span');
  const draining = h(
    'section',
    { class: 'himalia-box', 'aria-labelledby': 'himalia-drain' },
    h('h2', { id: 'himalia-drain' }, 'Drain'),
    h(
      'p',
      { class: 'text-body-secondary' },
      'While it is on, nothing new starts and schedules rest; what runs goes on to its end. ',
      'Use it before maintenance.'
    ),
    h('div', { class: 'himalia-row' }, drain, drainWords)
  );

  async function toggle() {
    const isOn = notice?.is_draining === true;
    const isDone = await confirm({
      title: isOn ? 'End the drain?' : 'Start to drain?',
      content: [
        h('p', {}, isOn ? 'What waits in the queue starts.' : 'Nothing new starts for anybody.')
      ],
      action: isOn ? 'End the drain' : 'Start to drain',
      act: () => put({ is_draining: !isOn })
    });
    if (isDone) {
      context.say(isOn ? 'New runs start again.' : 'Draining: nothing new starts.');
    }
  }

  function drawNotice() {
    drain.setAttribute('aria-checked', String(notice.is_draining));
    fill(drainWords, notice.is_draining ? 'On: nothing new starts' : 'Off');
    if (document.activeElement !== text && text.value === (text.dataset.said ?? '')) {
      text.value = notice.banner;
    }
    text.dataset.said = notice.banner;
    fill(
      about,
      notice.changed_at &&
        `Banner and drain were last changed by ${notice.changed_by} on ${full(notice.changed_at)}.`
    );
  }

  async function refresh() {
    try {
      const found = await ask('GET', 'overview');
      for (const [key] of NUMBERS) {
        const node = cards.querySelector(`[data-number="${key}"] .himalia-number`);
        if (node) {
          fill(node, number(found[key]));
        }
      }
      cards
        .querySelector('.himalia-card-failed_day')
        ?.classList.toggle('himalia-bad', found.failed_day > 0);
      fill(trouble);
      notice = found.notice;
      context.notice(notice);
      drawNotice();
      fill(
        controls,
        `${number(found.controls)} control ${found.controls === 1 ? 'process is' : 'processes are'} alive.`
      );
      await isolation.refresh();
    } catch (error) {
      const shown = error instanceof ApiError ? error.message : 'Something went wrong.';
      fill(
        trouble,
        h(
          'div',
          { class: 'alert alert-danger himalia-trouble' },
          h('span', {}, shown),
          button('Try again', refresh)
        )
      );
    }
  }

  const controls = h('p', { class: 'text-body-secondary' });
  const node = h(
    'div',
    {},
    trouble,
    cards,
    isFull ? h('div', { class: 'himalia-boxes' }, banner, draining) : null,
    about,
    isolation.node,
    controls
  );
  return { id: 'overview', title: 'Overview', node, open: refresh, refresh };
}
