// @ts-check
/** Questions that must be answered before something is done. */
import { ApiError } from './api.js';
import { button, fill, h } from './dom.js';

/**
 * Ask in a dialog; it stays open, and says why, when `act` fails.
 *
 * @param {object} options
 * @param {string} options.title names the object
 * @param {import('./dom.js').Child[]} options.content
 * @param {string} options.action the button's label
 * @param {boolean} [options.destroys]
 * @param {() => Promise<void>} options.act
 * @returns {Promise<boolean>} whether it was done
 */
export function confirm({ title, content, action, destroys = false, act }) {
  return new Promise(resolve => {
    const trouble = h('div', { role: 'alert' });
    let isDone = false;
    const cancel = button('Cancel', () => dialog.close());
    const go = h(
      'button',
      {
        type: 'submit',
        class: `btn btn-sm btn-${destroys ? 'danger' : 'primary'}`
      },
      action
    );
    const form = h(
      'form',
      {
        onsubmit: async (/** @type {Event} */ event) => {
          event.preventDefault();
          if (go.getAttribute('aria-disabled') === 'true') {
            return;
          }
          go.setAttribute('aria-disabled', 'true');
          try {
            await act();
            isDone = true;
            dialog.close();
          } catch (error) {
            const text = error instanceof ApiError ? error.message : 'Something went wrong.';
            fill(trouble, h('div', { class: 'alert alert-danger' }, text));
          } finally {
            go.removeAttribute('aria-disabled');
          }
        }
      },
      h('h2', { id: 'himalia-dialog-title' }, title),
      content,
      trouble,
      h('div', { class: 'himalia-dialog-actions' }, cancel, go)
    );
    const giveBack = holdFocus();
    const dialog = /** @type {HTMLDialogElement} */ (
      h(
        'dialog',
        {
          class: 'himalia-dialog',
          'aria-labelledby': 'himalia-dialog-title',
          onclose: () => {
            dialog.remove();
            giveBack();
            resolve(isDone);
          }
        },
        form
      )
    );
    document.querySelector('.himalia')?.append(dialog);
    dialog.showModal();
    const first = dialog.querySelector('input, select, textarea');
    // Nothing is destroyed by a key pressed once too often.
    (first instanceof HTMLElement ? first : destroys ? cancel : go).focus();
  });
}

/**
 * Remember what has the focus.
 *
 * @returns {() => void} gives it back, where a table was drawn anew to what stands there now
 */
function holdFocus() {
  const before = document.activeElement;
  const table = before?.closest('.himalia-scroll');
  const key = before?.closest('tr')?.getAttribute('data-key') ?? '';
  const act = before?.getAttribute('data-act') ?? '';
  return () => {
    const again = before?.isConnected
      ? before
      : table?.querySelector(`[data-key="${CSS.escape(key)}"] [data-act="${CSS.escape(act)}"]`);
    const found = again ?? table;
    if (found instanceof HTMLElement) {
      found.focus({ preventScroll: true });
    }
  };
}
