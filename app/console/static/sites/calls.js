// Calls of this gateway from its own pages. The browser adds the session, which no script can read.

/** Where the gateway's addresses begin: the pages also work below a path. */
const ROOT = new URL(".", location.href);

/** What is done once the session has ended. */
export let ended = () => {};
export const whenEnded = (work) => (ended = work);

/** An answer that is an error: `problem` is its document, `status` 0 where there was no answer at all. */
export class CallError extends Error {
  constructor(problem, status, retryAfterS) {
    super(problem.detail || problem.title);
    Object.assign(this, { problem, status, retryAfterS });
  }
}

/** 32 hexadecimal digits. */
export const randomKey = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

/** An address of this gateway with a query; members that are empty are left out, lists are repeated. */
export function address(path, query = {}) {
  const url = new URL(path, ROOT);
  for (const [name, value] of Object.entries(query)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== undefined && one !== null && one !== "") url.searchParams.append(name, one);
    }
  }
  return url.href;
}

/** The keys of changes of which nobody knows whether they were made: sent again, each is made once. */
const unanswered = new Map();

/**
 * Calls an address below the gateway's root, such as `admin/v1/tenants`. A change is sent with `body`.
 *
 * @param {string} path
 * @param {{ query?: object, body?: object, put?: boolean, tag?: string, signal?: AbortSignal }} [options]
 * @returns {Promise<any>} the document; its entity tag, if any, is the symbol `TAG` of it
 */
export async function call(path, { query = {}, body = undefined, put = false, tag = "", signal = undefined } = {}) {
  const headers = { Accept: "application/json", "Reelgate-Page": "1" };
  const isChange = body !== undefined;
  if (isChange) headers["Content-Type"] = "application/json";
  const text = isChange ? JSON.stringify(body) : undefined;
  const change = isChange && path.startsWith("admin/") ? `${put} ${path} ${text}` : "";
  if (change) {
    if (!unanswered.has(change)) unanswered.set(change, randomKey());
    headers["Idempotency-Key"] = unanswered.get(change);
  }
  if (tag) headers["If-Match"] = tag;
  let answer;
  try {
    answer = await fetch(address(path, query), {
      method: put ? "PUT" : isChange ? "POST" : "GET",
      headers,
      body: text,
      signal,
      cache: "no-store",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new CallError({ title: "The gateway did not answer.", detail: "Is the network down?" }, 0, 0);
  }
  if (answer.status < 500) unanswered.delete(change);
  if (answer.status === 204) return null;
  let document;
  try {
    document = await answer.json();
  } catch {
    document = { title: `An answer with status ${answer.status} that is no JSON.` };
  }
  if (!answer.ok) {
    // No page sends a key but to sign in: nobody is signed in, or not any more, in this tab or in another one.
    if (answer.status === 401 && !path.endsWith("/session")) ended();
    throw new CallError(document, answer.status, Number(answer.headers.get("retry-after")) || 0);
  }
  const found = answer.headers.get("etag");
  return found === null ? document : Object.assign(document, { [TAG]: found });
}

/** The entity tag of a document, for a later edit. */
export const TAG = Symbol("entity tag");
