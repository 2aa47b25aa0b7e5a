// @ts-check
/** What stands above the tabs. */
import { fill, h } from './dom.js';

/**
 * Show what everybody is told.
 *
 * @param {HTMLElement} node
 * @param {any} notice
 */
export function showNotice(node, notice) {
  fill(
    node,
    notice.is_draining
      ? h(
          'div',
          { class: 'alert alert-warning' },
          h('strong', {}, 'Draining. '),
          'Nothing new starts; what runs goes on.',
          notice.changed_by ? ` Set by ${notice.changed_by}.` : ''
        )
      : null,
    notice.banner ? h('div', { class: 'alert alert-info' }, notice.banner) : null
  );
}

/**
 * Say whom the visitor administers.
 *
 * @param {import('./main.js').Rights} rights
 */
export function reach(rights) {
  const whom = rights.groups ? `the members of ${rights.groups.join(', ')}` : 'everybody';
  return rights.may_write ? `You administer ${whom}.` : `You see ${whom}, and change nothing.`;
}
