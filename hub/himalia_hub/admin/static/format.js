// @ts-check
/** Values as people read them. */
import { h } from './dom.js';

const SECOND = 1000;
const STEPS = /** @type {[Intl.RelativeTimeFormatUnit, number][]} */ ([
  ['day', 86_400 * SECOND],
  ['hour', 3600 * SECOND],
  ['minute', 60 * SECOND],
  ['second', SECOND]
]);
const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto' });
const absolute = new Intl.DateTimeFormat(undefined, {
  dateStyle: 'medium',
  timeStyle: 'medium'
});

/**
 * Write how long ago something was, or when it will be.
 *
 * @param {string} iso
 */
export function ago(iso) {
  const apart = new Date(iso).getTime() - Date.now();
  for (const [unit, size] of STEPS) {
    if (Math.abs(apart) >= size || unit === 'second') {
      return relative.format(Math.trunc(apart / size), unit);
    }
  }
  return '';
}

/**
 * Show a moment; it stays right while the page is open.
 *
 * @param {string | null | undefined} iso
 */
export function moment(iso) {
  if (!iso) {
    return h('span', { class: 'text-body-secondary' }, '–');
  }
  const title = absolute.format(new Date(iso));
  return h('time', { datetime: iso, title, class: 'text-nowrap' }, ago(iso));
}

/** Write every moment on the page anew. */
export function tick() {
  for (const node of document.querySelectorAll('.himalia time')) {
    const text = ago(node.getAttribute('datetime') ?? '');
    if (node.textContent !== text) {
      node.textContent = text;
    }
  }
}

/**
 * Write a moment in full.
 *
 * @param {string} iso
 */
export const full = iso => absolute.format(new Date(iso));

/**
 * Write how long something took.
 *
 * @param {string | null} from
 * @param {string | null} to now, where it goes on
 */
export function lasted(from, to) {
  if (!from) {
    return '–';
  }
  const end = to ? new Date(to).getTime() : Date.now();
  const seconds = Math.max(0, Math.round((end - new Date(from).getTime()) / SECOND));
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  if (hours) {
    return `${hours} h ${minutes} min`;
  }
  return minutes ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
}

const numbers = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });
const LEAST = 0.05;

/**
 * Write a number; what is too small to be written is more than nothing.
 *
 * @param {number | null | undefined} value
 */
export function number(value) {
  if (value === null || value === undefined) {
    return '–';
  }
  return value > 0 && value < LEAST ? '< 0.1' : numbers.format(value);
}

/** Bytes in a GiB. */
export const GIB = 2 ** 30;

/**
 * Say what a status means, with a colour besides.
 *
 * @param {string} status
 */
export function badge(status) {
  return h('span', { class: `himalia-badge himalia-${status}` }, status);
}

/**
 * Say why, and what to do about it.
 *
 * @param {{ message: string, next_step: string } | null} reason
 */
export function why(reason) {
  if (!reason) {
    return null;
  }
  return h(
    'div',
    { class: 'himalia-why' },
    h('span', {}, reason.message),
    reason.next_step ? h('span', { class: 'text-body-secondary' }, ` ${reason.next_step}`) : null
  );
}
