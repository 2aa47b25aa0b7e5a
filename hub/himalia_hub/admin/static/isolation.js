// @ts-check
/** Whether users were found apart from each other and from the cluster. */
import { ApiError, ask } from './api.js';
import { fill, h } from './dom.js';
import { badge, full } from './format.js';

/** @type {Record<string, [string, string]>} the colour and the words of a state */
const STATES = {
  never: ['waiting', 'Never tried'],
  apart: ['succeeded', 'Users are apart'],
  open: ['failed', 'Users are not apart'],
  failed: ['failed', 'The test came to no end']
};

/** @param {any} finding */
function line(finding) {
  const found = finding.is_open ? 'reached' : 'not reached';
  return h(
    'li',
    { class: finding.is_right ? '' : 'himalia-bad' },
    h(
      'span',
      { class: `himalia-badge himalia-${finding.is_right ? 'succeeded' : 'failed'}` },
      finding.is_right ? 'right' : 'wrong'
    ),
    ` ${finding.title}: ${found}`
  );
}

/**
 * Make the part of the page. Who administers groups alone does not see it.
 *
 * @param {import('./main.js').Context} context
 */
export function makeIsolation(context) {
  const content = h('div');
  const node = h(
    'section',
    {
      class: 'himalia-box himalia-isolation',
      'aria-labelledby': 'himalia-isolation',
      hidden: true
    },
    h('h2', { id: 'himalia-isolation' }, 'Isolation'),
    content
  );

  /** @param {any} found */
  function draw(found) {
    const [kind, words] = STATES[found.state] ?? ['waiting', found.state];
    const mark = badge(kind);
    mark.textContent = words;
    // What is wrong comes first.
    const findings = [...(found.report?.findings ?? [])].sort(
      (one, other) => Number(one.is_right) - Number(other.is_right)
    );
    fill(
      content,
      h(
        'p',
        {},
        mark,
        found.checked_at ? ` Tried on ${full(found.checked_at)}, from a user’s place.` : ''
      ),
      found.report?.error ? h('p', { class: 'himalia-bad' }, found.report.error) : null,
      h('p', { class: 'text-body-secondary' }, found.next_step),
      findings.length ? h('ul', { class: 'himalia-findings' }, findings.map(line)) : null
    );
  }

  async function refresh() {
    if (context.rights.groups !== null) {
      return;
    }
    try {
      const found = await ask('GET', 'isolation');
      node.hidden = found.state === 'none';
      draw(found);
    } catch (error) {
      const shown = error instanceof ApiError ? error.message : 'Something went wrong.';
      fill(content, h('div', { class: 'alert alert-danger', role: 'alert' }, shown));
    }
  }

  return { node, refresh };
}
