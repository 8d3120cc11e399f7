/**
 * Reelgate in a web page: submit a job with a client token, watch it live, get its result.
 * No dependency, no build. client.d.ts describes every shape and error.
 */

/** @import { FollowOptions, Options, Problem, Reelgate as Declared, Result, SubmitOptions, Update } from "./client.d.ts" */
/** @typedef {RequestInit & { input?: unknown, signal?: AbortSignal }} Call */

export const version = "0.1.0";

const SILENCE_MS = 40_000; // the server pings every 15 s
const CALL = { tries: 6, within: 60_000 };
const FOLLOW = { tries: Infinity, within: 600_000, stubborn: true };
const POLLS = 10; // before a stream that could not be had is tried again
const STATUS = {
  accepted: "in_queue",
  dispatching: "in_queue",
  in_queue: "in_queue",
  in_progress: "in_progress",
  unknown: "in_progress",
  cancelled: "cancelled",
  expired: "cancelled",
}; // of any other state: completed
const OVER = ["completed", "cancelled"];

/** A refusal, a gateway that cannot be reached, or a job that ended without an output. */
export class ReelgateError extends Error {
  code = "";
  /** @type {number | undefined} */ status;
  retryable = false;
  /** @type {number | undefined} */ retryAfter;

  /**
   * @param {Problem} problem
   * @param {{ cause?: unknown, result?: Result }} [more]
   */
  constructor(problem, { cause, result } = {}) {
    const { code, status, title, detail, errors = [], retryable = false, remedy } = problem;
    const { request_id: requestId, trace_id: traceId, retry_after_s: retryAfter } = problem;
    super([detail ?? title, ...errors.map((one) => `${one.pointer} ${one.detail}`)].join(" "), { cause });
    this.name = "ReelgateError";
    Object.assign(this, { code, status, title, detail, errors, retryable, retryAfter, remedy });
    Object.assign(this, { requestId, traceId, problem, result });
  }
}

/** @implements {Declared} */
export class Reelgate {
  #getToken;
  #base;
  #fetch;
  /** @type {{ value: string, until: number } | undefined} */
  #token;
  /** @type {Promise<void> | undefined} */
  #renewal; // the call of getToken that is under way
  #wasHeard = false; // whether any answer could be read

  /** @param {Options} options */
  constructor({ getToken, baseUrl = new URL(".", import.meta.url), fetch }) {
    if (typeof getToken !== "function") throw new TypeError("Reelgate needs a function getToken.");
    this.#getToken = getToken;
    this.#base = String(baseUrl).replace(/\/+$/, "");
    this.#fetch = fetch ?? ((call, init) => globalThis.fetch(call, init));
  }

  /**
   * @param {string} model
   * @param {unknown} input
   * @param {SubmitOptions} [options]
   */
  async submit(model, input, { idempotencyKey = randomKey(), startDeadline, signal } = {}) {
    /** @type {Record<string, string>} */
    const headers = { "Idempotency-Key": idempotencyKey };
    if (startDeadline)
      headers["Reelgate-Start-Deadline"] =
        startDeadline instanceof Date ? startDeadline.toISOString() : String(startDeadline);
    return this.#call(path`models/${model}`, { method: "POST", input, headers, signal });
  }

  /**
   * @param {string} model
   * @param {unknown} input
   * @param {SubmitOptions & FollowOptions} [options]
   */
  async subscribe(model, input, { onUpdate, ...options } = {}) {
    const { request_id: requestId } = await this.submit(model, input, options);
    onUpdate?.(submitted(requestId));
    return this.follow(requestId, { onUpdate, signal: options.signal });
  }

  /**
   * @param {string} requestId
   * @param {FollowOptions} [options]
   * @returns {Promise<Result>}
   */
  async follow(requestId, { onUpdate, signal } = {}) {
    let last;
    for await (last of this.#updates(requestId, signal)) onUpdate?.(last);
    const result = await this.#call(path`requests/${requestId}/result`, { signal }, FOLLOW);
    if (result.status === "succeeded") return result;
    throw withoutOutput(result, last.state);
  }

  status(requestId, options) {
    return this.#call(path`requests/${requestId}/status`, options);
  }

  result(requestId, options) {
    return this.#call(path`requests/${requestId}/result`, options);
  }

  cancel(requestId, options) {
    return this.#call(path`requests/${requestId}/cancel`, { ...options, method: "POST" });
  }

  request(requestId, options) {
    return this.#call(path`requests/${requestId}`, options);
  }

  requests(query, options) {
    return this.#call(path`requests` + search(query), options);
  }

  models(query, options) {
    return this.#call(path`models` + search(query), options);
  }

  model(id, options) {
    return this.#call(path`models/${id}`, options);
  }

  quote(model, input, options) {
    return this.#call(path`quotes/${model}`, { ...options, method: "POST", input });
  }

  quota(options) {
    return this.#call(path`quota`, options);
  }

  /** Every change of a job, once and in order, to the last one. */
  async *#updates(id, signal) {
    const patience = new Patience(signal, FOLLOW);
    const tag = { value: '"none"' };
    let last = submitted(id);
    let polls = 0; // to do before the next stream
    let mute = 0; // streams in a row that told nothing
    while (!last.final) {
      const before = last;
      const began = Date.now();
      /** @type {any} */
      let failure = null; // what getToken throws can be anything
      try {
        const changes = polls ? this.#poll(id, tag, signal) : this.#stream(id, last.version, signal);
        for await (const change of changes) {
          patience.spent = 0;
          const next = merged(last, change);
          if (next !== last) yield (last = next);
        }
      } catch (error) {
        failure = error;
      }
      if (last.final) return;
      const isNew = last !== before;
      if (isNew || Date.now() - began > 5000) patience.failures = 0;
      if (polls) polls -= 1;
      else if (failure?.code === "too_many_streams") [polls, failure] = [POLLS, null];
      else if (isNew) mute = 0;
      else if (++mute > 1) polls = POLLS;
      await patience.after(failure);
    }
  }

  /** What the stream says after the version `seen`; an empty change is a sign of life. */
  async *#stream(id, seen, signal) {
    const watch = watched(signal);
    try {
      const headers = seen ? { "Last-Event-ID": seen } : {};
      const { body } = await this.#answer(path`requests/${id}/events`, { headers }, watch.signal);
      const reader = body?.getReader();
      const decoder = new TextDecoder();
      let text = "";
      while (reader) {
        const { done, value } = await reader.read().catch(lost);
        if (done) return;
        watch.alive();
        yield {};
        const messages = (text + decoder.decode(value, { stream: true })).split(/\r?\n\r?\n/);
        text = messages.pop() ?? "";
        for (const message of messages) {
          const data = /^data: ?(.*)$/m.exec(message);
          if (data) yield JSON.parse(data[1]);
        }
      }
    } finally {
      watch.end();
    }
  }

  /** The same by one long poll: the record, once the status is not the tag's. */
  async *#poll(id, tag, signal) {
    const headers = { Prefer: "wait=25", "If-None-Match": tag.value };
    const tagOf = async (answer) => answer.headers.get("ETag");
    const found = await this.#once(path`requests/${id}/status`, { headers, signal }, tagOf);
    yield {};
    if (found === tag.value) return;
    const { events, queue_position } = await this.#once(path`requests/${id}`, { signal });
    tag.value = found;
    yield* events.map((event) => ({ status: STATUS[event.state] ?? "completed", ...event }));
    yield { queue_position };
  }

  /** The document that a call answers with; called again for as long as that can help. */
  async #call(place, /** @type {Call} */ options = {}, bounds = CALL) {
    const patience = new Patience(options.signal, bounds);
    for (;;) {
      try {
        return await this.#once(place, options);
      } catch (error) {
        await patience.after(error);
      }
    }
  }

  async #once(place, /** @type {Call} */ { input, signal, ...init }, read = (answer) => answer.json()) {
    if (init.method) {
      init.headers = { ...init.headers, "Content-Type": "application/json" };
      init.body = JSON.stringify(input);
    }
    const watch = watched(signal);
    try {
      return await read(await this.#answer(place, init, watch.signal)).catch(lost);
    } finally {
      watch.end();
    }
  }

  /** An answer that is no refusal. A token that is refused is renewed, once. */
  async #answer(place, init, signal) {
    const headers = new Headers(init.headers);
    for (let refused; ; ) {
      signal.throwIfAborted();
      const token = await unlessAborted(this.#bearer(refused), signal);
      headers.set("Authorization", `Bearer ${token}`);
      const call = () => this.#fetch(this.#base + place, { ...init, headers, signal, credentials: "omit" });
      const answer = await call().catch((cause) => this.#doubt(call, cause, signal));
      this.#wasHeard = true;
      if (answer.ok || answer.status === 304) return answer;
      const refusal = await refusalOf(answer);
      if (refused || !/^(expired|invalid)_client_token$/.test(refusal.code)) throw refusal;
      refused = token;
    }
  }

  /**
   * To a page, a refused origin looks like a dead network. But this module is for every page:
   * where it can be had, and the call fails once more, it is the origin.
   */
  async #doubt(call, cause, signal) {
    const { origin } = globalThis.location ?? {};
    if (this.#wasHeard || !origin || new URL(this.#base, origin).origin === origin) lost(cause);
    await this.#fetch(`${this.#base}/client.js`, { method: "HEAD", signal }).catch(lost);
    return call().catch(() => {
      const title = `The gateway does not allow calls from pages of ${origin}.`;
      const remedy = "Ask the operator to allow this origin.";
      throw new ReelgateError({ code: "origin_not_allowed", title, remedy });
    });
  }

  /** A token other than the refused one; one call of getToken serves all. */
  async #bearer(refused) {
    if (!this.#token || this.#token.value === refused || Date.now() >= this.#token.until) {
      this.#renewal ??= this.#renew().finally(() => (this.#renewal = undefined));
      await this.#renewal;
    }
    return this.#token?.value;
  }

  async #renew() {
    const given = await this.#getToken();
    const { token, expires_at } = typeof given === "string" ? { token: given } : given;
    const left = Date.parse(expires_at) - Date.now();
    // Where this computer's clock knows no end, or one that is past, the server tells.
    const until = left > 0 ? Date.now() + left - Math.min(30_000, left / 5) : Infinity;
    this.#token = { value: token, until };
  }
}

/** When to try again: later each time, not before `Retry-After`, and not for ever. */
class Patience {
  /** @type {AbortSignal | undefined} */ signal;
  tries = 0;
  within = 0;
  stubborn = false;
  failures = 0; // in a row
  spent = 0; // ms since the last sign of life, less those that the computer slept
  began = Date.now();

  constructor(signal, bounds) {
    Object.assign(this, { signal, ...bounds });
  }

  /** Waits for the next try; throws the failure (null is none) where none can help. */
  async after(/** @type {any} */ failure = new Error("getToken failed.")) {
    this.signal?.throwIfAborted();
    const pause_s = Math.max(failure?.retryAfter ?? 0, Math.min(15, 2 ** this.failures++));
    const pause = pause_s * (1000 + 250 * Math.random());
    this.spent += pause + Math.min(Date.now() - this.began, SILENCE_MS);
    const mayTry = this.failures < this.tries && this.spent < this.within && mayHelp(failure, this.stubborn);
    if (failure && !mayTry) throw failure;
    await passed(pause, this.signal, failure?.code === "unreachable");
    this.began = Date.now();
  }
}

/** Only the stubborn forgive getToken its errors. What was sent (422) is for its sender to mend. */
function mayHelp(failure, stubborn) {
  return failure instanceof ReelgateError ? failure.retryable && failure.status !== 422 : stubborn;
}

/** A signal that fires with the caller's, at the `end`, and after a time without a sign of life. */
function watched(signal, ms = SILENCE_MS) {
  signal?.throwIfAborted();
  const controller = new AbortController();
  let timer;
  const end = (reason) => {
    clearTimeout(timer);
    controller.abort(reason);
  };
  const alive = () => {
    clearTimeout(timer);
    timer = setTimeout(end, ms, new Error("There was no answer for 40 seconds."));
  };
  signal?.addEventListener("abort", () => end(signal.reason), { signal: controller.signal });
  alive();
  return { signal: controller.signal, alive, end };
}

/** Waits; no longer when the signal fires or, where that helps, the network is back. */
function passed(ms, signal, online) {
  const { signal: over, end } = watched(signal, ms);
  if (online) globalThis.addEventListener?.("online", end, { signal: over });
  return new Promise((resolve) => over.addEventListener("abort", resolve));
}

function unlessAborted(promise, signal) {
  return new Promise((resolve, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason));
    promise.then(resolve, reject);
  });
}

function lost(cause) {
  const title = "The gateway cannot be reached.";
  throw new ReelgateError({ code: "unreachable", title, retryable: true }, { cause });
}

async function refusalOf(answer) {
  const { status, headers } = answer;
  const retry_after_s = Number(headers.get("Retry-After")) || undefined;
  const isOurs = headers.get("Content-Type")?.includes("problem"); // and no proxy's
  const problem = isOurs ? await answer.json().catch(lost) : { retryable: status > 501 };
  const title = `HTTP ${status}`;
  return new ReelgateError({ code: "http_error", title, status, retry_after_s, ...problem });
}

function withoutOutput(result, state) {
  const { status, error, request_id } = result;
  const code = `job_${status}`;
  const title = `The job ${status === "failed" ? status : "was cancelled"}.`;
  const why = state === "expired" ? "It had not started by its deadline." : error;
  const detail = why && `${title} ${typeof why === "string" ? why : why.message ?? JSON.stringify(why)}`;
  return new ReelgateError({ code, title, detail, request_id }, { result });
}

/**
 * The first update: there is a job, and no more is known.
 *
 * @returns {Update}
 */
function submitted(requestId) {
  return {
    requestId,
    status: "in_queue",
    state: null,
    queuePosition: null,
    at: null,
    version: 0,
    final: false,
  };
}

/** `last` with what is new in a change; `last` itself where nothing is. */
function merged(last, { version, status, state, at, queue_position: place }) {
  if (version > last.version) {
    const queuePosition = status === "in_queue" ? last.queuePosition : null;
    return { ...last, version, status, state, at, queuePosition, final: OVER.includes(status) };
  }
  return place == null || place === last.queuePosition ? last : { ...last, queuePosition: place };
}

function path(texts, ...values) {
  const places = values.map((value) => encodeURIComponent(value).replaceAll("%2F", "/"));
  return `/v1/${String.raw({ raw: texts }, ...places)}`;
}

function search(query = {}) {
  return `?${new URLSearchParams(Object.entries(query).filter(([, value]) => value !== undefined))}`;
}

/** 128 bits; crypto.randomUUID is for https pages only. */
function randomKey() {
  return crypto.getRandomValues(new Uint32Array(4)).join("-");
}
