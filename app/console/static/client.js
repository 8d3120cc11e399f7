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
const MOST = 50; // requests in one stream
const TURN_MS = 20_000; // for which others wait where there are more
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
  /** @type {string | undefined} */ requestId;

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
  #isNamed; // whether the page has said where the gateway is
  #isKnown = false; // whether it has answered from there
  /** @type {Set<Follower>} */
  #followers = new Set();
  #round = new AbortController(); // of the one connection that serves all of them
  #isWatching = false;

  /** @param {Options} options */
  constructor({ getToken, baseUrl, fetch }) {
    if (typeof getToken !== "function") throw new TypeError("Reelgate needs a function getToken.");
    this.#getToken = getToken;
    this.#isNamed = baseUrl !== undefined;
    this.#base = String(baseUrl ?? home()).replace(/\/+$/, "");
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
    signal?.throwIfAborted();
    const follower = new Follower(id, signal);
    this.#followers.add(follower);
    this.#round.abort(); // the next one serves this follower too
    if (!this.#isWatching) this.#watch();
    try {
      yield* follower.updates();
    } finally {
      this.#followers.delete(follower);
      if (!this.#followers.size) this.#round.abort();
    }
  }

  /** Serves all followers, over one connection at a time: browsers have six for a gateway, and calls need some. */
  async #watch() {
    this.#isWatching = true;
    const place = new Place(this.#base, () => this.#round.abort());
    const live = () => [...this.#followers].filter(({ last }) => !last.final);
    const patience = new Patience(undefined, FOLLOW);
    let polls = 0; // to do before the next stream
    let mute = 0; // streams in a row that told nothing
    while (live().length) {
      await place.take();
      const mayHold = place.isMine;
      const round = (this.#round = new AbortController());
      const { signal } = round;
      const served = live().slice(0, MOST);
      const hasMore = this.#followers.size > MOST;
      const turn = hasMore ? setTimeout(() => round.abort(), TURN_MS) : undefined;
      const began = Date.now();
      let isNew = false;
      patience.signal = signal;
      /** @type {any} */
      let failure = null; // what getToken throws can be anything
      try {
        if (served.length > 1) await passed(50, signal); // more may be about to follow
        signal.throwIfAborted();
        const changes = mayHold && !polls ? this.#stream(served, signal) : this.#poll(served, signal, mayHold);
        for await (const change of changes) {
          patience.spent = 0;
          for (const one of served) isNew = one.take(change) || isNew;
        }
      } catch (error) {
        failure = error;
      }
      clearTimeout(turn);
      for (const one of hasMore ? served : []) {
        if (this.#followers.delete(one)) this.#followers.add(one); // behind the others
      }
      if (signal.aborted || !live().length) continue;
      if (isNew || Date.now() - began > 5000) patience.failures = 0;
      if (polls) polls -= 1;
      else if (failure?.code === "too_many_streams") [polls, failure] = [POLLS, null];
      else if (isNew) mute = 0;
      else if (mayHold && ++mute > 1) polls = POLLS;
      try {
        await patience.after(failure);
      } catch (error) {
        const meant = served.filter(({ id }) => id === error?.requestId);
        for (const one of meant.length ? meant : live()) {
          this.#followers.delete(one);
          one.fail(error);
        }
      }
    }
    place.leave();
    this.#isWatching = false;
  }

  /** What a stream says of those whom it serves; an empty change is a sign of life. */
  async *#stream(served, signal) {
    const watch = watched(signal);
    try {
      const [{ id, last }] = served;
      const isAlone = served.length === 1;
      const ids = String([...new Set(served.map((one) => one.id))]);
      const place = isAlone ? path`requests/${id}/events` : path`requests/events` + search({ ids });
      const headers = isAlone && last.version ? { "Last-Event-ID": last.version } : {};
      const { body } = await this.#answer(place, { headers }, watch.signal);
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
          if (data) yield { ...(isAlone && { request_id: id }), ...JSON.parse(data[1]) };
        }
      }
    } finally {
      watch.end();
    }
  }

  /** The same by one call after another: the record of each, once the status is not the tag's. */
  async *#poll(served, signal, mayHold) {
    const tagOf = async (answer) => answer.headers.get("ETag");
    for (const one of served) {
      /** @type {Record<string, string>} */
      const headers = { "If-None-Match": one.tag };
      if (mayHold && served.length === 1) headers.Prefer = "wait=25";
      const found = await this.#once(path`requests/${one.id}/status`, { headers, signal }, tagOf).catch(
        (error) => {
          if (error instanceof ReelgateError && error.status === 404) error.requestId ??= one.id;
          throw error;
        },
      );
      yield {};
      if (found === one.tag) continue;
      const { events, queue_position } = await this.#once(path`requests/${one.id}`, { signal });
      one.tag = found;
      for (const event of events)
        yield { request_id: one.id, status: STATUS[event.state] ?? "completed", ...event };
      yield { request_id: one.id, queue_position };
    }
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
      this.#isKnown ||= answer.headers.has("Reelgate-Trace-Id");
      if (!this.#isKnown) this.#suspect(answer);
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

  /** Nothing else answers with a page where a document should be; a copy of this module guesses its gateway. */
  #suspect({ ok, status, headers }) {
    const isPage = ok && headers.get("Content-Type")?.includes("html");
    if (!isPage && (this.#isNamed || ![404, 405].includes(status))) return;
    const title = `There is no gateway at ${this.#base}.`;
    const detail = this.#isNamed ? title : `${title} That is where client.js was loaded from.`;
    const remedy = 'Name the gateway: new Reelgate({ getToken, baseUrl: "https://gateway.example" }).';
    throw new ReelgateError({ code: "no_gateway", title, detail: `${detail} ${remedy}`, status, remedy });
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
    const asked = (async () => this.#getToken())();
    const { token, expires_at } = await tokenIn(await asked.catch(notJson));
    const left = Date.parse(expires_at) - Date.now();
    // Where this computer's clock knows no end, or one that is past, the server tells.
    const until = left > 0 ? Date.now() + left - Math.min(30_000, left / 5) : Infinity;
    this.#token = { value: token, until };
  }
}

/**
 * The right to hold a connection open: of a browser's pages that share its six to a gateway, one has it, the one
 * that came to the front last, and the others poll. Where there are no locks, as in Node.js and in pages without
 * TLS, each has it.
 */
class Place {
  isMine = false;
  #free = () => {};
  #isFirst = true; // of all that want it: goes before the one that has it
  #left = new AbortController();

  /**
   * @param {string} base of the gateway
   * @param {() => void} changed called when another page has it now, or this one may take it
   */
  constructor(base, changed) {
    const { document, navigator, location } = globalThis;
    this.name = `reelgate ${base}`;
    this.changed = changed;
    this.locks = location && navigator?.locks;
    this.#isFirst = document?.hidden === false;
    const seen = () => {
      this.#isFirst = !document.hidden;
      if (this.#isFirst && !this.isMine) changed();
    };
    document?.addEventListener("visibilitychange", seen, { signal: this.#left.signal });
  }

  /** Takes it, where it is free or this page is in front. */
  async take() {
    if (this.isMine) return;
    const options = this.#isFirst ? { steal: true } : { ifAvailable: true };
    this.#isFirst = false;
    await new Promise((asked) => {
      const hold = (lock) => {
        this.isMine = Boolean(lock);
        asked(undefined);
        return lock && new Promise((free) => (this.#free = () => free(undefined)));
      };
      const lost = (error) => {
        this.isMine = error?.name !== "AbortError"; // but for this, locks cannot be used here
        asked(undefined);
        this.changed();
      };
      if (this.locks) this.locks.request(this.name, options, hold).catch(lost);
      else hold(true);
    });
  }

  leave() {
    this.#left.abort();
    this.#free();
  }
}

/** One who follows a job: what is known of it, and what is still to be passed on. */
class Follower {
  tag = '"none"'; // of the status that was polled last
  /** @type {Update[]} */ #due = [];
  #ring = () => {};
  /** @type {{ error: unknown } | undefined} */ #failure;

  constructor(id, signal) {
    this.id = id;
    this.signal = signal;
    this.last = submitted(id);
    signal?.addEventListener("abort", () => this.#ring());
  }

  /** Takes a change, if it is of this job; returns whether it is news. */
  take(change) {
    const next = change.request_id === this.id ? merged(this.last, change) : this.last;
    if (next === this.last) return false;
    this.#due.push((this.last = next));
    this.#ring();
    return true;
  }

  fail(error) {
    this.#failure = { error };
    this.#ring();
  }

  async *updates() {
    for (;;) {
      this.signal?.throwIfAborted();
      const next = this.#due.shift();
      if (next) yield next;
      else if (this.last.final) return;
      else if (this.#failure) throw this.#failure.error;
      else await new Promise((resolve) => (this.#ring = () => resolve(undefined)));
    }
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
  if (!(failure instanceof ReelgateError)) return stubborn;
  return failure.retryable && failure.status !== 422 && (stubborn || failure.code !== "no_token");
}

/** The token in what getToken gave. Where there is none, the error says what there is instead. */
async function tokenIn(given) {
  const answer = given instanceof Response ? given : undefined;
  if (answer) given = jsonIn((await answer.text()).trim());
  const { token, expires_at, status } = typeof given === "string" ? { token: given } : given ?? {};
  // RFC 6750 has the characters of a token.
  if (answer?.ok !== false && /^[\w.~+/-]+=*$/.test(token ?? "")) return { token, expires_at };
  throw noToken(given, answer?.status ?? status);
}

function jsonIn(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** What fails to be parsed by getToken was no JSON; its other errors are the page's own. */
function notJson(error) {
  throw error instanceof SyntaxError ? noToken(`what is not JSON: ${error.message}`, undefined) : error;
}

function noToken(given, status) {
  const title = "The page was given no client token.";
  const texts = given && typeof given === "object" ? [given.title, given.detail, given.message, given.error] : [given];
  const words = texts.filter((one) => typeof one === "string").join(" ");
  const plain = words.replace(/(<[^>]*>|\s)+/g, " ").trim(); // of a page, for example a proxy's
  const shown = plain || (given === "" ? "an empty answer" : String(JSON.stringify(given)));
  const said = shown.replace(/rg_\w+/g, "rg_…").slice(0, 300); // messages are logged and shown
  const detail = `${title} ${status ? `The token endpoint answered HTTP ${status}:` : "getToken gave"} ${said}`;
  const remedy = "getToken has to return the answer of POST /v1/client-tokens, or the token in it.";
  const retryable = status === 429 || status > 499;
  return new ReelgateError({ code: "no_token", title, detail, status, retryable, remedy }, { cause: given });
}

/** Where this module was loaded from: the gateway, unless it is a copy. */
function home() {
  const url = import.meta.url ?? "";
  if (/^https?:/.test(url)) return new URL(".", url);
  const from = url.slice(0, 60) || "an unknown address";
  throw new TypeError(
    `client.js was loaded from ${from}, so it cannot know its gateway. Name it: new Reelgate({ getToken, baseUrl }).`,
  );
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
