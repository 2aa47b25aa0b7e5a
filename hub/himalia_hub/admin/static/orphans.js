// @ts-check
/** What runs and nobody owns, and what is owned and gone. */
import { ApiError, ask } from './api.js';
import { confirm } from './dialog.js';
import { button, fill, h } from './dom.js';
import { makeTable } from './table.js';

/** @type {Record<string, [string, string, string]>} what it is, the button, what happens */
const WORDS = {
  attempt: ['Processes', 'End', 'Its processes are ended; its files are removed afterwards.'],
  run: ['Run', 'End', 'It is asked to stop.'],
  person: [
    'Person',
    'Delete',
    'Everything that was theirs is deleted, with all files. This cannot be undone.'
  ]
};

/** @param {import('./main.js').Context} context @returns {import('./main.js').Tab} */
export function makeOrphans(context) {
  const trouble = h('div', { role: 'alert' });
  const table = makeTable({
    caption: 'Orphans',
    key: orphan => orphan.id,
    empty: 'There are no orphans: whatever runs is known, and whatever is owned has an owner.',
    columns: [
      {
        title: 'What',
        heads: true,
        cell: orphan => [
          h('span', { class: 'himalia-name' }, WORDS[orphan.what]?.[0] ?? orphan.what),
          h('small', { class: 'himalia-id' }, orphan.id)
        ]
      },
      {
        title: 'Whose',
        cell: orphan => h('span', { class: 'himalia-name' }, orphan.name || orphan.owner)
      },
      {
        title: 'Why it is one',
        cell: orphan => [
          orphan.why,
          ' ',
          h('span', { class: 'text-body-secondary' }, orphan.next_step)
        ]
      },
      {
        title: 'Action',
        acts: true,
        cell: orphan =>
          context.rights.may_write &&
          button(WORDS[orphan.what]?.[1] ?? 'End', () => end(orphan), {
            kind: 'outline-danger',
            name: `${WORDS[orphan.what]?.[1] ?? 'End'} ${orphan.name || orphan.id}`,
            key: 'end'
          })
      }
    ]
  });
  const again = button('Look again', () => refresh());
  const node = h('div', {}, h('div', { class: 'himalia-filters' }, again), trouble, table.node);

  /** @param {any} orphan */
  async function end(orphan) {
    const [what, action, happens] = WORDS[orphan.what] ?? ['Orphan', 'End', ''];
    const isDone = await confirm({
      title: `${action}: ${what} ${orphan.name || orphan.id}?`,
      content: [h('p', {}, happens)],
      action,
      destroys: true,
      act: () => ask('DELETE', `orphans/${encodeURIComponent(orphan.id)}`)
    });
    if (isDone) {
      context.say(`${what} ${orphan.name || orphan.id}: done.`);
      await context.refresh();
    }
  }

  async function refresh() {
    try {
      table.update((await ask('GET', 'orphans')).items);
      fill(trouble);
    } catch (error) {
      const text = error instanceof ApiError ? error.message : 'Something went wrong.';
      fill(trouble, h('div', { class: 'alert alert-danger' }, text));
    }
  }

  return {
    id: 'orphans',
    title: 'Orphans',
    node,
    // Everybody's processes are asked.
    restMillis: 15_000,
    open: refresh,
    refresh
  };
}
