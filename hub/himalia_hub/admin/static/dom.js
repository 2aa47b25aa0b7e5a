// @ts-check
/** Elements, made without ever reading a text as HTML. */

/** @typedef {Node | string | number | null | undefined | false} Child */

/**
 * Make an element. Properties that begin with `on` listen; others are attributes, of which false
 * and null are left out.
 *
 * @param {string} tag
 * @param {Record<string, any>} [properties]
 * @param {...(Child | Child[])} children
 * @returns {HTMLElement}
 */
export function h(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith('on')) {
      made.addEventListener(name.slice(2), value);
    } else if (value !== false && value !== null && value !== undefined) {
      made.setAttribute(name, value === true ? '' : String(value));
    }
  }
  fill(made, ...children);
  return made;
}

/**
 * Put children in the place of those that are there.
 *
 * @param {Element} parent
 * @param {...(Child | Child[])} children
 */
export function fill(parent, ...children) {
  const shown = children
    .flat()
    .filter(child => child !== null && child !== undefined && child !== false);
  parent.replaceChildren(
    ...shown.map(child =>
      child instanceof Node ? child : document.createTextNode(plain(String(child)))
    )
  );
}

/**
 * Show what would turn a text around or hide in it.
 *
 * @param {string} text
 */
export function plain(text) {
  return text.replace(
    /[\u0000-\u0008\u000b-\u001f\u007f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g,
    '\ufffd'
  );
}

/**
 * Make a button that is busy while what it does goes on.
 *
 * @param {string} label
 * @param {() => Promise<void> | void} act
 * @param {{ kind?: string, name?: string, title?: string, key?: string }} [options]
 *   `name` is what a screen reader says, where the label alone does not tell enough.
 */
export function button(label, act, { kind = 'outline-secondary', name, title, key } = {}) {
  const made = h(
    'button',
    {
      type: 'button',
      class: `btn btn-sm btn-${kind}`,
      'aria-label': name,
      title,
      'data-act': key ?? label,
      onclick: async () => {
        if (made.getAttribute('aria-disabled') === 'true') {
          return;
        }
        // Not `disabled`: that would take the focus away.
        made.setAttribute('aria-disabled', 'true');
        try {
          await act();
        } finally {
          made.removeAttribute('aria-disabled');
        }
      }
    },
    label
  );
  return made;
}

/**
 * Make a labelled field.
 *
 * @param {string} label
 * @param {HTMLElement} input
 * @param {string} [hint]
 */
export function field(label, input, hint) {
  const id = `himalia-field-${(count += 1)}`;
  input.id = id;
  if (hint) {
    input.setAttribute('aria-describedby', `${id}-hint`);
  }
  return h(
    'div',
    { class: 'himalia-field' },
    h('label', { for: id }, label),
    input,
    hint ? h('small', { id: `${id}-hint`, class: 'text-body-secondary' }, hint) : null
  );
}

let count = 0;

/**
 * Make a choice.
 *
 * @param {[string, string][]} options value and label
 * @param {string} chosen
 * @param {(value: string) => void} [change]
 * @returns {HTMLSelectElement}
 */
export function choice(options, chosen, change) {
  const made = /** @type {HTMLSelectElement} */ (
    h(
      'select',
      {
        class: 'form-select form-select-sm',
        onchange: () => change?.(made.value)
      },
      options.map(([value, label]) => h('option', { value, selected: value === chosen }, label))
    )
  );
  return made;
}

/**
 * Make an input.
 *
 * @param {Record<string, any>} properties
 * @returns {HTMLInputElement}
 */
export function input(properties) {
  return /** @type {HTMLInputElement} */ (
    h('input', {
      class: 'form-control form-control-sm',
      autocomplete: 'off',
      ...properties
    })
  );
}
