/**
 * Reelgate in a web page: submit a job with a client token, watch it live, get its result.
 * No dependency. Built by `make clients-js` from clients/typescript/src, which has the reasons;
 * client.d.ts describes every shape and error.
 */
export const version = "0.1.0";
export class ReelgateError extends Error {
  name;
  code;
  status;
  title;
  detail;
  errors;
  retryable;
  retryAfter;
  remedy;
  requestId;
  traceId;
  problem;
  result;
  constructor(problem, { cause, result } = {}) {
    const { code, status, title, detail, errors = [], retryable = false, remedy } = problem;
    super([detail ?? title, ...errors.map((one) => `${one.pointer} ${one.detail}`)].join(" "), { cause });
    this.name = "ReelgateError";
    this.code = code;
    this.title = title;
    this.errors = errors;
    this.retryable = retryable;
    this.problem = problem;
    const { request_id: requestId, trace_id: traceId, retry_after_s: retryAfter } = problem;
    Object.assign(this, { status, detail, retryAfter, remedy, requestId, traceId, result });
  }
}
function lost(cause) {
  const title = "The gateway cannot be reached.";
  throw new ReelgateError({ code: "unreachable", title, retryable: true }, { cause });
}
async function refusalOf(answer) {
  const { status, headers } = answer;
  const retry_after_s = Number(headers.get("Retry-After")) || undefined;
  const isOurs = headers.get("Content-Type")?.includes("problem");
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
const BEARER = /^[\w.~+/-]+=*$/;
async function tokenIn(given) {
  const answer = given instanceof Response ? given : undefined;
  if (answer)
    given = jsonIn((await answer.text()).trim());
  const { token, expires_at, status } = typeof given === "string" ? { token: given } : given ?? {};
  if (answer?.ok !== false && BEARER.test(token ?? ""))
    return { token, expires_at };
  throw noToken(given, answer?.status ?? status);
}
function jsonIn(text) {
  try {
    return JSON.parse(text);
  }
  catch {
    return text;
  }
}
function notJson(error) {
  throw error instanceof SyntaxError ? noToken(`what is not JSON: ${error.message}`) : error;
}
function noToken(given, status) {
  const title = "The page was given no client token.";
  const texts = given && typeof given === "object" ? [given.title, given.detail, given.message, given.error] : [given];
  const words = texts.filter((one) => typeof one === "string").join(" ");
  const plain = words.replace(/(<[^>]*>|\s)+/g, " ").trim();
  const shown = plain || (given === "" ? "an empty answer" : String(JSON.stringify(given)));
  const said = shown.replace(/rg_\w+/g, "rg_…").slice(0, 300);
  const detail = `${title} ${status ? `The token endpoint answered HTTP ${status}:` : "getToken gave"} ${said}`;
  const remedy = "getToken has to return the answer of POST /v1/client-tokens, or the token in it.";
  const retryable = status === 429 || status > 499;
  return new ReelgateError({ code: "no_token", title, detail, status, retryable, remedy }, { cause: given });
}
const SILENCE_MS = 40_000;
const UPLOAD_MS = 3_600_000;
const CALL = { tries: 6, within: 60_000 };
const FOLLOW = { tries: Infinity, within: 600_000, stubborn: true };
class Patience {
  signal;
  bounds;
  failures = 0;
  spent = 0;
  #began = Date.now();
  constructor(signal, bounds) {
    this.signal = signal;
    this.bounds = bounds;
  }
  async after(failure = new Error("getToken failed.")) {
    this.signal?.throwIfAborted();
    const { tries, within, stubborn } = this.bounds;
    const pause_s = Math.max(failure?.retryAfter ?? 0, Math.min(15, 2 ** this.failures++));
    const pause = pause_s * (1000 + 250 * Math.random());
    this.spent += pause + Math.min(Date.now() - this.#began, SILENCE_MS);
    const mayTry = this.failures < tries && this.spent < within && mayHelp(failure, stubborn);
    if (failure && !mayTry)
      throw failure;
    await passed(pause, this.signal, failure?.code === "unreachable");
    this.#began = Date.now();
  }
}
function mayHelp(failure, stubborn = false) {
  if (!(failure instanceof ReelgateError))
    return stubborn;
  return failure.retryable && failure.status !== 422 && (stubborn || failure.code !== "no_token");
}
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
    timer = setTimeout(end, ms, new Error(`There was no answer for ${ms / 1000} seconds.`));
  };
  signal?.addEventListener("abort", () => end(signal.reason), { signal: controller.signal });
  alive();
  return { signal: controller.signal, alive, end };
}
function passed(ms, signal, online = false) {
  const { signal: over, end } = watched(signal, ms);
  if (online)
    globalThis.addEventListener?.("online", end, { signal: over });
  return new Promise((resolve) => over.addEventListener("abort", resolve));
}
function unlessAborted(promise, signal) {
  return new Promise((resolve, reject) => {
    const leave = () => reject(signal.reason);
    signal?.addEventListener("abort", leave);
    promise.finally(() => signal?.removeEventListener("abort", leave)).then(resolve, reject);
  });
}
function sending(onProgress) {
  return (url, { method, headers, body, signal }) => new Promise((resolve, reject) => {
    const call = new XMLHttpRequest();
    call.open(method, url);
    headers.forEach((value, name) => call.setRequestHeader(name, value));
    call.upload.onprogress = ({ loaded, total }) => onProgress(loaded, total);
    call.onload = () => {
      const pairs = call.getAllResponseHeaders().trim().split("\r\n").map((line) => line.split(": ", 2));
      resolve(new Response(call.response, { status: call.status, headers: pairs }));
    };
    call.onerror = () => reject(new TypeError("The network failed."));
    call.onabort = () => reject(signal.reason);
    signal.addEventListener("abort", () => call.abort());
    call.send(body);
  });
}
class Connection {
  base;
  #getToken;
  #fetch;
  #token;
  #renewal;
  #wasHeard = false;
  #isNamed;
  #isKnown = false;
  #more = {};
  constructor({ getToken, apiKey, dangerouslyAllowBrowser, baseUrl, fetch }) {
    const isPage = globalThis.document ?? globalThis.WorkerLocation;
    if (apiKey === undefined ? typeof getToken !== "function" : getToken)
      throw new TypeError("Reelgate needs a function getToken, or on a server an apiKey.");
    if (apiKey !== undefined && !BEARER.test(apiKey))
      throw new TypeError("The apiKey has a character that none has.");
    if (apiKey !== undefined && isPage && !dangerouslyAllowBrowser)
      throw new TypeError("An apiKey in a page can be read by everybody. Give the page client tokens: getToken.");
    if (!isPage)
      this.#more["User-Agent"] = `reelgate-js/${version}`;
    this.#getToken = getToken ?? (() => apiKey);
    this.#isNamed = baseUrl !== undefined;
    this.base = String(baseUrl ?? home()).replace(/\/+$/, "");
    this.#fetch = fetch ?? ((call, init) => globalThis.fetch(call, init));
  }
  async call(place, options = {}, bounds = CALL) {
    const patience = new Patience(options.signal, bounds);
    for (;;) {
      try {
        return await this.once(place, options);
      }
      catch (error) {
        await patience.after(error);
      }
    }
  }
  async once(place, call, read = (answer) => answer.json()) {
    const { input, file, onProgress, signal, isKept } = call;
    signal?.throwIfAborted();
    const init = { method: call.method, headers: { ...call.headers } };
    if (call.method) {
      init.headers = { ...init.headers, "Content-Type": file ? "application/octet-stream" : "application/json" };
      init.body = file ?? JSON.stringify(input);
    }
    const watch = watched(isKept ? undefined : signal, file && UPLOAD_MS);
    const send = onProgress && globalThis.XMLHttpRequest ? sending(onProgress) : undefined;
    try {
      return await read(await this.answer(place, init, watch.signal, signal, send)).catch(lost);
    }
    finally {
      watch.end();
    }
  }
  async answer(place, init, signal, unsent = signal, send = this.#fetch) {
    const headers = new Headers({ ...this.#more, ...init.headers });
    for (let refused;;) {
      signal.throwIfAborted();
      const token = await unlessAborted(unlessAborted(this.#bearer(refused), signal), unsent);
      headers.set("Authorization", `Bearer ${token}`);
      const call = () => send(this.base + place, { ...init, headers, signal, credentials: "omit" });
      const answer = await call().catch((cause) => this.#doubt(call, cause, signal));
      this.#wasHeard = true;
      this.#isKnown ||= answer.headers.has("Reelgate-Trace-Id");
      if (!this.#isKnown)
        this.#suspect(answer);
      if (answer.ok || answer.status === 304)
        return answer;
      const refusal = await refusalOf(answer);
      if (refused || !/^(expired|invalid)_client_token$/.test(refusal.code))
        throw refusal;
      refused = token;
    }
  }
  async #doubt(call, cause, signal) {
    const { origin } = globalThis.location ?? {};
    if (this.#wasHeard || !origin || new URL(this.base, origin).origin === origin)
      lost(cause);
    await this.#fetch(`${this.base}/client.js`, { method: "HEAD", signal }).catch(lost);
    return call().catch(() => {
      const title = `The gateway does not allow calls from pages of ${origin}.`;
      const remedy = "Ask the operator to allow this origin.";
      throw new ReelgateError({ code: "origin_not_allowed", title, remedy });
    });
  }
  #suspect({ ok, status, headers }) {
    const isPage = ok && headers.get("Content-Type")?.includes("html");
    if (!isPage && (this.#isNamed || ![404, 405].includes(status)))
      return;
    const title = `There is no gateway at ${this.base}.`;
    const detail = this.#isNamed ? title : `${title} That is where client.js was loaded from.`;
    const remedy = 'Name the gateway: new Reelgate({ getToken, baseUrl: "https://gateway.example" }).';
    throw new ReelgateError({ code: "no_gateway", title, detail: `${detail} ${remedy}`, status, remedy });
  }
  async #bearer(refused) {
    if (!this.#token || this.#token.value === refused || Date.now() >= this.#token.until) {
      this.#renewal ??= this.#renew().finally(() => (this.#renewal = undefined));
      await this.#renewal;
    }
    return this.#token.value;
  }
  async #renew() {
    const asked = (async () => this.#getToken())();
    const { token, expires_at } = await tokenIn(await asked.catch(notJson));
    const left = Date.parse(expires_at) - Date.now();
    const until = left > 0 ? Date.now() + left - Math.min(30_000, left / 5) : Infinity;
    this.#token = { value: token, until };
  }
}
function home() {
  const url = import.meta.url ?? "";
  if (/^https?:/.test(url))
    return new URL(".", url);
  const from = url.slice(0, 60) || "an unknown address";
  throw new TypeError(`client.js was loaded from ${from}, so it cannot know its gateway. Name it: new Reelgate({ getToken, baseUrl }).`);
}
function path(texts, ...values) {
  const places = values.map((value) => encodeURIComponent(value).replaceAll("%2F", "/"));
  return `/v1/${String.raw({ raw: texts }, ...places)}`;
}
function search(query = {}) {
  const pairs = Object.entries(query).flatMap(([name, value]) => [value].flat().map((one) => [name, one]));
  return `?${new URLSearchParams(pairs.filter(([, value]) => value !== undefined))}`;
}
class Place {
  isMine = false;
  #free = () => { };
  #isFirst = true;
  #left = new AbortController();
  #name;
  #changed;
  #locks;
  constructor(base, changed) {
    const { document, navigator, location } = globalThis;
    this.#name = `reelgate ${base}`;
    this.#changed = changed;
    this.#locks = location && navigator?.locks;
    this.#isFirst = document?.hidden === false;
    const seen = () => {
      this.#isFirst = !document.hidden;
      if (this.#isFirst && !this.isMine)
        changed();
    };
    document?.addEventListener("visibilitychange", seen, { signal: this.#left.signal });
  }
  async take() {
    if (this.isMine)
      return;
    const options = this.#isFirst ? { steal: true } : { ifAvailable: true };
    this.#isFirst = false;
    await new Promise((asked) => {
      const hold = (lock) => {
        this.isMine = Boolean(lock);
        asked();
        return lock && new Promise((free) => (this.#free = free));
      };
      const lost = (error) => {
        this.isMine = error?.name !== "AbortError";
        asked();
        this.#changed();
      };
      if (this.#locks)
        this.#locks.request(this.#name, options, hold).catch(lost);
      else
        hold(true);
    });
  }
  leave() {
    this.#left.abort();
    this.#free();
  }
}
const STATUS = {
  accepted: "in_queue",
  dispatching: "in_queue",
  in_queue: "in_queue",
  in_progress: "in_progress",
  unknown: "in_progress",
  cancelled: "cancelled",
  expired: "cancelled",
};
class Follower {
  id;
  signal;
  tag = '"none"';
  last;
  #due = [];
  #ring = () => { };
  #failure;
  #wake = () => this.#ring();
  constructor(id, signal) {
    this.id = id;
    this.signal = signal;
    this.last = submitted(id);
    signal?.addEventListener("abort", this.#wake);
  }
  leave() {
    this.signal?.removeEventListener("abort", this.#wake);
  }
  take(change) {
    const next = change.request_id === this.id ? merged(this.last, change) : this.last;
    if (next === this.last)
      return false;
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
      if (next)
        yield next;
      else if (this.last.final)
        return;
      else if (this.#failure)
        throw this.#failure.error;
      else
        await new Promise((resolve) => (this.#ring = resolve));
    }
  }
}
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
function changesIn(requestId, { events, queue_position }) {
  const told = events.map((event) => ({
    request_id: requestId,
    status: STATUS[event.state] ?? "completed",
    ...event,
  }));
  return [...told, { request_id: requestId, queue_position }];
}
function merged(last, { version, status, state, at, queue_position: place }) {
  if (version > last.version) {
    const queuePosition = status === "in_queue" ? last.queuePosition : null;
    const final = status === "completed" || status === "cancelled";
    return { ...last, version, status, state, at, queuePosition, final };
  }
  return place == null || place === last.queuePosition ? last : { ...last, queuePosition: place };
}
const POLLS = 10;
const MOST = 50;
const TURN_MS = 20_000;
class Watch {
  #connection;
  #followers = new Set();
  #round = new AbortController();
  #isWatching = false;
  constructor(connection) {
    this.#connection = connection;
  }
  async *updates(id, signal) {
    signal?.throwIfAborted();
    const follower = new Follower(id, signal);
    this.#followers.add(follower);
    this.#round.abort();
    if (!this.#isWatching)
      this.#watch();
    try {
      yield* follower.updates();
    }
    finally {
      follower.leave();
      this.#followers.delete(follower);
      if (!this.#followers.size)
        this.#round.abort();
    }
  }
  async #watch() {
    this.#isWatching = true;
    const place = new Place(this.#connection.base, () => this.#round.abort());
    const live = () => [...this.#followers].filter(({ last }) => !last.final);
    const patience = new Patience(undefined, FOLLOW);
    let polls = 0;
    let mute = 0;
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
      let failure = null;
      try {
        if (served.length > 1)
          await passed(50, signal);
        signal.throwIfAborted();
        const changes = mayHold && !polls ? this.#stream(served, signal) : this.#poll(served, signal, mayHold);
        for await (const change of changes) {
          patience.spent = 0;
          for (const one of served)
            isNew = one.take(change) || isNew;
        }
      }
      catch (error) {
        failure = error;
      }
      clearTimeout(turn);
      for (const one of hasMore ? served : []) {
        if (this.#followers.delete(one))
          this.#followers.add(one);
      }
      if (signal.aborted || !live().length)
        continue;
      if (isNew || Date.now() - began > 5000)
        patience.failures = 0;
      if (polls)
        polls -= 1;
      else if (failure?.code === "too_many_streams")
        [polls, failure] = [POLLS, null];
      else if (isNew)
        mute = 0;
      else if (mayHold && ++mute > 1)
        polls = POLLS;
      try {
        await patience.after(failure);
      }
      catch (error) {
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
  async *#stream(served, signal) {
    const watch = watched(signal);
    try {
      const { id, last } = served[0];
      const isAlone = served.length === 1;
      const ids = String([...new Set(served.map((one) => one.id))]);
      const place = isAlone ? path `requests/${id}/events` : path `requests/events` + search({ ids });
      const headers = isAlone && last.version ? { "Last-Event-ID": String(last.version) } : {};
      const { body } = await this.#connection.answer(place, { headers }, watch.signal);
      const reader = body?.getReader();
      const decoder = new TextDecoder();
      let text = "";
      while (reader) {
        const { done, value } = await reader.read().catch(lost);
        if (done)
          return;
        watch.alive();
        yield {};
        const messages = (text + decoder.decode(value, { stream: true })).split(/\r?\n\r?\n/);
        text = messages.pop() ?? "";
        for (const message of messages) {
          const data = /^data: ?(.*)$/m.exec(message);
          if (data)
            yield { ...(isAlone && { request_id: id }), ...JSON.parse(data[1]) };
        }
      }
    }
    finally {
      watch.end();
    }
  }
  async *#poll(served, signal, mayHold) {
    const tagOf = async (answer) => answer.headers.get("ETag");
    for (const one of served) {
      const headers = { "If-None-Match": one.tag };
      if (mayHold && served.length === 1)
        headers.Prefer = "wait=25";
      const call = { headers, signal };
      const found = await this.#connection.once(path `requests/${one.id}/status`, call, tagOf).catch((error) => {
        if (error instanceof ReelgateError && error.status === 404)
          Object.assign(error, { requestId: error.requestId ?? one.id });
        throw error;
      });
      yield {};
      if (found === one.tag)
        continue;
      const record = await this.#connection.once(path `requests/${one.id}`, { signal });
      one.tag = found;
      yield* changesIn(one.id, record);
    }
  }
}
export class Reelgate {
  #connection;
  #watch;
  constructor(options) {
    this.#connection = new Connection(options);
    this.#watch = new Watch(this.#connection);
  }
  async run(model, input, { onUpdate, cancelOnAbort, ...options } = {}) {
    const { signal } = options;
    const submitting = this.#submit(model, input, options, cancelOnAbort);
    if (!cancelOnAbort)
      return submitting.then(({ request_id }) => this.#begun(request_id, { onUpdate, signal }));
    const cancel = () => submitting.then(({ request_id }) => this.cancel(request_id)).catch(() => { });
    signal?.addEventListener("abort", cancel);
    try {
      const { request_id } = await unlessAborted(submitting, signal);
      return await this.#begun(request_id, { onUpdate, signal });
    }
    finally {
      signal?.removeEventListener("abort", cancel);
    }
  }
  subscribe(model, input, options) {
    return this.run(model, input, options);
  }
  async submit(model, input, options) {
    return this.#submit(model, input, options);
  }
  async #submit(model, input, { idempotencyKey = randomKey(), startDeadline, signal } = {}, isKept = false) {
    const headers = { "Idempotency-Key": idempotencyKey };
    if (startDeadline)
      headers["Reelgate-Start-Deadline"] =
        startDeadline instanceof Date ? startDeadline.toISOString() : String(startDeadline);
    return this.#connection.call(path `models/${model}`, { method: "POST", input, headers, signal, isKept });
  }
  async #begun(requestId, options) {
    options.onUpdate?.(submitted(requestId));
    return this.follow(requestId, options);
  }
  async follow(requestId, { onUpdate, signal } = {}) {
    let last;
    for await (last of this.events(requestId, { signal }))
      onUpdate?.(last);
    const result = await this.#connection.call(path `requests/${requestId}/result`, { signal }, FOLLOW);
    if (result.status === "succeeded")
      return result;
    throw withoutOutput(result, last?.state);
  }
  events(requestId, options = {}) {
    return this.#watch.updates(requestId, options.signal);
  }
  status(requestId, options) {
    return this.#get(path `requests/${requestId}/status`, options);
  }
  result(requestId, options) {
    return this.#get(path `requests/${requestId}/result`, options);
  }
  cancel(requestId, options) {
    return this.#post(path `requests/${requestId}/cancel`, undefined, options);
  }
  request(requestId, options) {
    return this.#get(path `requests/${requestId}`, options);
  }
  requests(query, options) {
    return this.#get(path `requests` + search(query), options);
  }
  models(query, options) {
    return this.#get(path `models` + search(query), options);
  }
  model(id, options) {
    return this.#get(path `models/${id}`, options);
  }
  quote(model, input, options) {
    return this.#post(path `quotes/${model}`, input, options);
  }
  upload(file, { model, place, name = file.name, expiresIn, onProgress, signal } = {}) {
    const query = search({ model_id: model, place, name: name || undefined, expires_in_s: expiresIn });
    return this.#connection.call(path `files` + query, { method: "POST", file, onProgress, signal });
  }
  quota(options) {
    return this.#get(path `quota`, options);
  }
  usage(query, options) {
    return this.#get(path `usage` + search(query), options);
  }
  mint(terms = {}, options) {
    return this.#post(path `client-tokens`, terms, options);
  }
  tokens(query, options) {
    return this.#get(path `client-tokens` + search(query), options);
  }
  token(tokenId, options) {
    return this.#get(path `client-tokens/${tokenId}`, options);
  }
  revoke(tokenId, options) {
    return this.#post(path `client-tokens/${tokenId}/revoke`, undefined, options);
  }
  #get(place, options) {
    return this.#connection.call(place, { signal: options?.signal });
  }
  #post(place, input, options) {
    return this.#connection.call(place, { method: "POST", input, signal: options?.signal });
  }
}
function randomKey() {
  return crypto.getRandomValues(new Uint32Array(4)).join("-");
}
