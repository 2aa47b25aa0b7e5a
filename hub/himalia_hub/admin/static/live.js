// @ts-check
/** Being told when something changed, for as long as the page is open. */
import { address, failure, headers } from './api.js';

const FIRST_MILLIS = 1000;
const LONGEST_MILLIS = 30_000;
const SILENCE_MILLIS = 6000;

/**
 * Follow the changes; gaps are bridged by asking again, ever less often.
 *
 * @param {() => void} changed
 * @param {(state: 'live' | 'away' | 'out', message: string) => void} tell
 */
export async function follow(changed, tell) {
  let pause = FIRST_MILLIS;
  for (;;) {
    const stop = new AbortController();
    try {
      const answer = await fetch(address('events'), {
        headers: headers(),
        credentials: 'same-origin',
        cache: 'no-store',
        signal: stop.signal
      });
      if (!answer.ok || !answer.body) {
        const error = await failure(answer);
        if (error.status === 401 || error.status === 403) {
          tell('out', 'You are signed out. Load this page again to sign in.');
          return;
        }
        throw error;
      }
      await read(answer.body, stop, () => {
        pause = FIRST_MILLIS;
        tell('live', 'Live');
        changed();
      });
    } catch {
      // Tried again below, whatever it was.
    } finally {
      stop.abort();
    }
    tell('away', 'Connection lost; trying again');
    await new Promise(resolve => setTimeout(resolve, pause * (0.75 + Math.random() / 2)));
    pause = Math.min(pause * 2, LONGEST_MILLIS);
  }
}

/**
 * Call `changed` at each event, until the stream ends or falls silent.
 *
 * @param {ReadableStream<Uint8Array<ArrayBuffer>>} body
 * @param {AbortController} stop
 * @param {() => void} changed
 */
async function read(body, stop, changed) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  for (;;) {
    const silence = setTimeout(() => stop.abort(), SILENCE_MILLIS);
    const { value, done } = await reader.read();
    clearTimeout(silence);
    if (done) {
      return;
    }
    const parts = (text + value).split('\n\n');
    text = parts.pop() ?? '';
    if (parts.some(part => part.includes('event: change'))) {
      changed();
    }
  }
}
