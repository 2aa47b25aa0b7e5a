// @ts-check
/** What people may take. */
import { ApiError, ask } from './api.js';
import { confirm } from './dialog.js';
import { button, choice, field, fill, h, input } from './dom.js';
import { GIB, number } from './format.js';
import { makeTable } from './table.js';

/** @type {[string, string][]} */
const SCOPES = [
  ['user', 'One user'],
  ['group', 'A group, all members together'],
  ['everyone', 'Everyone, each by themselves']
];

/** @type {[string, string, number, string][]} name, label, unit, step */
const LIMITS = [
  ['running', 'Runs at once', 1, '1'],
  ['cpu', 'Cores at once', 1, 'any'],
  ['memory_bytes', 'GiB of memory at once', GIB, 'any'],
  ['run_hours', 'Hours of runs in a month', 1, 'any']
];

/** @param {any} quota */
const named = quota =>
  quota.scope === 'everyone' ? 'everyone' : `the ${quota.scope} ${quota.subject}`;

/** @param {import('./main.js').Context} context @returns {import('./main.js').Tab} */
export function makeQuotas(context) {
  const { rights } = context;
  const trouble = h('div', { role: 'alert' });
  /** @param {any} quota */
  const mayChange = quota => rights.may_write && (rights.groups === null || quota.scope === 'user');
  const table = makeTable({
    caption: 'Quotas',
    key: quota => `${quota.scope} ${quota.subject}`,
    empty: 'There are no quotas: everybody may take what the machine gives.',
    columns: [
      {
        title: 'For',
        heads: true,
        cell: quota => [
          h('span', { class: 'himalia-name' }, quota.subject || 'Everyone'),
          h('small', { class: 'himalia-id' }, quota.scope)
        ]
      },
      ...LIMITS.map(([name, label, unit]) => ({
        title: label,
        numeric: true,
        cell: (/** @type {any} */ quota) =>
          quota[name] === null ? 'no limit' : number(quota[name] / unit)
      })),
      {
        title: 'Action',
        acts: true,
        cell: quota =>
          mayChange(quota) &&
          h(
            'div',
            { class: 'himalia-row' },
            button('Edit…', () => edit(quota), {
              name: `Edit the quota of ${named(quota)}`,
              key: 'edit'
            }),
            button('Remove', () => remove(quota), {
              kind: 'outline-danger',
              name: `Remove the quota of ${named(quota)}`,
              key: 'remove'
            })
          )
      }
    ]
  });

  /** @param {any} [quota] */
  async function edit(quota) {
    const scopes = rights.groups === null ? SCOPES : SCOPES.slice(0, 1);
    const subject = input({
      value: quota?.subject ?? '',
      maxlength: 255,
      spellcheck: 'false'
    });
    const subjectField = field('Name', subject, 'Of the user or the group at this hub');
    const scope = choice(scopes, quota?.scope ?? 'user', chosen => {
      subjectField.hidden = chosen === 'everyone';
      subject.required = chosen !== 'everyone';
    });
    subjectField.hidden = scope.value === 'everyone';
    subject.required = scope.value !== 'everyone';
    const limits = LIMITS.map(([name, label, unit, step]) => {
      const value = quota && quota[name] !== null ? quota[name] / unit : '';
      const made = input({
        type: 'number',
        min: 0,
        step,
        value,
        placeholder: 'no limit'
      });
      return { name, label, unit, made };
    });
    const put = () => ({
      scope: scope.value,
      subject: scope.value === 'everyone' ? '' : subject.value.trim(),
      ...Object.fromEntries(
        limits.map(({ name, unit, made }) => [name, read(made.value, unit, name)])
      )
    });
    const isDone = await confirm({
      title: quota ? `Quota of ${named(quota)}` : 'New quota',
      content: [
        quota ? null : field('For', scope),
        quota ? null : subjectField,
        h(
          'div',
          { class: 'himalia-limits' },
          limits.map(({ label, made }) => field(label, made))
        ),
        h('p', { class: 'text-body-secondary' }, 'An empty field sets no limit.')
      ],
      action: 'Save',
      act: () => ask('PUT', 'quotas', { body: put() })
    });
    if (isDone) {
      context.say(`The quota of ${named(put())} is saved.`);
      await context.refresh();
    }
  }

  /** @param {any} quota */
  async function remove(quota) {
    const query = { scope: quota.scope, subject: quota.subject };
    const isDone = await confirm({
      title: `Remove the quota of ${named(quota)}?`,
      content: [
        h(
          'p',
          {},
          quota.scope === 'user' ? 'Everyone’s holds for them then.' : 'It limits nobody then.'
        )
      ],
      action: 'Remove the quota',
      destroys: true,
      act: () => ask('DELETE', 'quotas', { query })
    });
    if (isDone) {
      context.say(`The quota of ${named(quota)} is removed.`);
      await context.refresh();
    }
  }

  async function refresh() {
    try {
      table.update((await ask('GET', 'quotas')).items);
      fill(trouble);
    } catch (error) {
      const text = error instanceof ApiError ? error.message : 'Something went wrong.';
      fill(trouble, h('div', { class: 'alert alert-danger' }, text));
    }
  }

  const add = rights.may_write && button('New quota…', () => edit(), { kind: 'primary' });
  const node = h('div', {}, h('div', { class: 'himalia-filters' }, add), trouble, table.node);
  return {
    id: 'quotas',
    title: 'Quotas',
    node,
    restMillis: 5000,
    open: refresh,
    refresh
  };
}

/** @param {string} text @param {number} unit @param {string} name */
function read(text, unit, name) {
  if (text.trim() === '') {
    return null;
  }
  const value = Number(text) * unit;
  return name === 'running' || name === 'memory_bytes' ? Math.round(value) : value;
}
