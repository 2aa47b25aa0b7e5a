// @ts-check
/** The REST interface of administration, with the visitor's login. */

const meta = (/** @type {string} */ name) =>
  document.querySelector(`meta[name="himalia-${name}"]`)?.getAttribute('content') ?? '';

/** The service's address; it ends with a slash. */
export const SERVICE = meta('service');
const BASE = `${SERVICE}api/admin/`;

/** What went wrong, in words that may be shown. */
export class ApiError extends Error {
  /**
   * @param {number} status 0 where there was no answer
   * @param {string} message
   * @param {{ field: string, message: string }[]} [details]
   */
  constructor(status, message, details = []) {
    super(message);
    this.status = status;
    this.details = details;
  }
}

/** Headers that show that a request comes from this page. */
export const headers = () => ({ 'X-XSRFToken': meta('xsrf') });

/**
 * Return an address with its query; empty values are left out.
 *
 * @param {string} path
 * @param {Record<string, string | number | string[] | null | undefined>} [query]
 */
export function address(path, query = {}) {
  const said = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== '') {
        said.append(name, String(one));
      }
    }
  }
  const text = said.toString();
  return `${BASE}${path}${text ? `?${text}` : ''}`;
}

/**
 * Ask; the answer is what the JSON says.
 *
 * @param {string} method
 * @param {string} path
 * @param {{ query?: Record<string, any>, body?: object, signal?: AbortSignal }} [options]
 * @returns {Promise<any>}
 */
export async function ask(method, path, { query, body, signal } = {}) {
  let answer;
  try {
    answer = await fetch(address(path, query), {
      method,
      headers: {
        ...headers(),
        ...(body ? { 'Content-Type': 'application/json' } : {})
      },
      body: body ? JSON.stringify(body) : undefined,
      credentials: 'same-origin',
      cache: 'no-store',
      signal
    });
  } catch (error) {
    if (signal?.aborted) {
      throw error;
    }
    throw new ApiError(0, 'Himalia does not answer. It is tried again.');
  }
  if (answer.ok) {
    return answer.status === 204 ? null : answer.json();
  }
  throw await failure(answer);
}

/**
 * Read what an answer says that is none.
 *
 * @param {Response} answer
 */
export async function failure(answer) {
  let said;
  try {
    said = (await answer.json()).error;
  } catch {
    said = null;
  }
  if (answer.status === 401) {
    return new ApiError(401, 'You are signed out. Load this page again to sign in.');
  }
  return new ApiError(
    answer.status,
    said?.message ?? `The server answered ${answer.status}.`,
    said?.details
  );
}
