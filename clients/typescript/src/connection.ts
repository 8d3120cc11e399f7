import { lost, ReelgateError, refusalOf } from "./errors.js";
import { CALL, Patience, UPLOAD_MS, unlessAborted, watched } from "./patience.js";
import { sending } from "./sending.js";
import { BEARER, notJson, tokenIn } from "./token.js";
import type { Options } from "./types.js";
import { version } from "./version.js";

export interface Call {
  method?: string;
  headers?: Record<string, string>;
  /** The body, as a value. */
  input?: unknown;
  /** The body, as a file. */
  file?: Blob;
  onProgress?: (sent: number, of: number) => void;
  signal?: AbortSignal;
  /** What was sent is waited for, even if the signal fires. */
  isKept?: boolean;
}

/** The calls of one client to its gateway: tokens, refusals, and trying again. */
export class Connection {
  readonly base: string;
  #getToken;
  #fetch;
  #token?: { value: string; until: number };
  #renewal?: Promise<void>; // the call of getToken that is under way
  #wasHeard = false; // whether any answer could be read
  #isNamed; // whether the page has said where the gateway is
  #isKnown = false; // whether it has answered from there
  #more: Record<string, string> = {};

  constructor({ getToken, apiKey, dangerouslyAllowBrowser, baseUrl, fetch }: Options) {
    // A page has a document, and a worker of a page this class.
    const isPage = globalThis.document ?? (globalThis as any).WorkerLocation;
    if (apiKey === undefined ? typeof getToken !== "function" : getToken)
      throw new TypeError("Reelgate needs a function getToken, or on a server an apiKey.");
    if (apiKey !== undefined && !BEARER.test(apiKey)) throw new TypeError("The apiKey has a character that none has.");
    if (apiKey !== undefined && isPage && !dangerouslyAllowBrowser)
      throw new TypeError("An apiKey in a page can be read by everybody. Give the page client tokens: getToken.");
    if (!isPage) this.#more["User-Agent"] = `reelgate-js/${version}`;
    this.#getToken = getToken ?? (() => apiKey!);
    this.#isNamed = baseUrl !== undefined;
    this.base = String(baseUrl ?? home()).replace(/\/+$/, "");
    this.#fetch = fetch ?? ((call: string, init: RequestInit) => globalThis.fetch(call, init));
  }

  /** The document that a call answers with; called again for as long as that can help. */
  async call<T>(place: string, options: Call = {}, bounds = CALL): Promise<T> {
    const patience = new Patience(options.signal, bounds);
    for (;;) {
      try {
        return await this.once<T>(place, options);
      } catch (error) {
        await patience.after(error);
      }
    }
  }

  async once<T = any>(place: string, call: Call, read = (answer: Response): Promise<T> => answer.json()): Promise<T> {
    const { input, file, onProgress, signal, isKept } = call;
    signal?.throwIfAborted();
    const init: RequestInit = { method: call.method, headers: { ...call.headers } };
    if (call.method) {
      init.headers = { ...init.headers, "Content-Type": file ? "application/octet-stream" : "application/json" };
      init.body = file ?? JSON.stringify(input);
    }
    const watch = watched(isKept ? undefined : signal, file && UPLOAD_MS);
    const send = onProgress && globalThis.XMLHttpRequest ? sending(onProgress) : undefined;
    try {
      return await read(await this.answer(place, init, watch.signal, signal, send)).catch(lost);
    } finally {
      watch.end();
    }
  }

  /** An answer that is no refusal. A token that is refused is renewed, once. */
  async answer(
    place: string,
    init: RequestInit,
    signal: AbortSignal,
    unsent = signal as AbortSignal | undefined,
    send: (call: string, init: RequestInit) => Promise<Response> = this.#fetch,
  ) {
    const headers = new Headers({ ...this.#more, ...(init.headers as Record<string, string>) });
    for (let refused: string | undefined; ; ) {
      signal.throwIfAborted();
      const token = await unlessAborted(unlessAborted(this.#bearer(refused), signal), unsent);
      headers.set("Authorization", `Bearer ${token}`);
      const call = () => send(this.base + place, { ...init, headers, signal, credentials: "omit" });
      const answer: Response = await call().catch((cause: unknown) => this.#doubt(call, cause, signal));
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
  async #doubt(call: () => Promise<Response>, cause: unknown, signal: AbortSignal): Promise<Response> {
    const { origin } = globalThis.location ?? {};
    if (this.#wasHeard || !origin || new URL(this.base, origin).origin === origin) lost(cause);
    await this.#fetch(`${this.base}/client.js`, { method: "HEAD", signal }).catch(lost);
    return call().catch(() => {
      const title = `The gateway does not allow calls from pages of ${origin}.`;
      const remedy = "Ask the operator to allow this origin.";
      throw new ReelgateError({ code: "origin_not_allowed", title, remedy });
    });
  }

  /** Nothing else answers with a page where a document should be; a copy of this module guesses its gateway. */
  #suspect({ ok, status, headers }: Response): void {
    const isPage = ok && headers.get("Content-Type")?.includes("html");
    if (!isPage && (this.#isNamed || ![404, 405].includes(status))) return;
    const title = `There is no gateway at ${this.base}.`;
    const detail = this.#isNamed ? title : `${title} That is where client.js was loaded from.`;
    const remedy = 'Name the gateway: new Reelgate({ getToken, baseUrl: "https://gateway.example" }).';
    throw new ReelgateError({ code: "no_gateway", title, detail: `${detail} ${remedy}`, status, remedy });
  }

  /** A token other than the refused one; one call of getToken serves all. */
  async #bearer(refused?: string): Promise<string> {
    if (!this.#token || this.#token.value === refused || Date.now() >= this.#token.until) {
      this.#renewal ??= this.#renew().finally(() => (this.#renewal = undefined));
      await this.#renewal;
    }
    return this.#token!.value;
  }

  async #renew(): Promise<void> {
    const asked = (async () => this.#getToken())();
    const { token, expires_at } = await tokenIn(await asked.catch(notJson));
    const left = Date.parse(expires_at) - Date.now();
    // Where this computer's clock knows no end, or one that is past, the server tells.
    const until = left > 0 ? Date.now() + left - Math.min(30_000, left / 5) : Infinity;
    this.#token = { value: token, until };
  }
}

/** Where this module was loaded from: the gateway, unless it is a copy. */
function home(): URL {
  const url = import.meta.url ?? "";
  if (/^https?:/.test(url)) return new URL(".", url);
  const from = url.slice(0, 60) || "an unknown address";
  throw new TypeError(
    `client.js was loaded from ${from}, so it cannot know its gateway. Name it: new Reelgate({ getToken, baseUrl }).`,
  );
}

/** The path of a call, its values escaped. */
export function path(texts: TemplateStringsArray, ...values: string[]): string {
  const places = values.map((value) => encodeURIComponent(value).replaceAll("%2F", "/"));
  return `/v1/${String.raw({ raw: texts }, ...places)}`;
}

/** A query; a list is a parameter for each of its values. */
export function search(query: object = {}): string {
  const pairs = Object.entries(query).flatMap(([name, value]) => [value].flat().map((one) => [name, one]));
  return `?${new URLSearchParams(pairs.filter(([, value]) => value !== undefined))}`;
}
