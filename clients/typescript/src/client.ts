import { Connection, path, search } from "./connection.js";
import type {
  Cancelled, ClientTokenInFull, ClientTokenPage, ClientTokenTerms, MintedClientToken, Model, ModelPage, ModelsQuery,
  Quota, Quote, Request, RequestPage, RequestsQuery, Status, Submitted, TokensQuery, UploadedFile, Usage,
  UsageQuery,
} from "./documents.js";
import { withoutOutput } from "./errors.js";
import { submitted } from "./follower.js";
import type { Models } from "./models.js";
import { FOLLOW, unlessAborted } from "./patience.js";
import type {
  CallOptions, FollowOptions, InputOf, ModelId, ModelMap, Options, OutputOf, Result, RunOptions, SubmitOptions, Update,
  UploadOptions,
} from "./types.js";
import { Watch } from "./watch.js";

/**
 * A gateway, as one page, server or script sees it. `M` has the types of its models' inputs and outputs: those that
 * this gateway comes with, or those that `npx reelgate types` wrote. Models that are not in it take any object.
 */
export class Reelgate<M extends ModelMap<M> = Models> {
  readonly #connection: Connection;
  readonly #watch: Watch;

  constructor(options: Options) {
    this.#connection = new Connection(options);
    this.#watch = new Watch(this.#connection);
  }

  /**
   * Submits a request, follows it, and returns its result once it has succeeded. `onUpdate` is told the id before
   * anything is waited for. Aborting the `signal` ends the waiting; the request goes on, unless `cancelOnAbort`.
   */
  async run<const Id extends ModelId<M>>(
    model: Id,
    input: InputOf<M, Id>,
    { onUpdate, cancelOnAbort, ...options }: RunOptions = {},
  ): Promise<Result<OutputOf<M, Id>>> {
    const { signal } = options;
    const submitting = this.#submit(model, input, options, cancelOnAbort);
    if (!cancelOnAbort) return submitting.then(({ request_id }) => this.#begun(request_id, { onUpdate, signal }));
    const cancel = () => submitting.then(({ request_id }) => this.cancel(request_id)).catch(() => {});
    signal?.addEventListener("abort", cancel);
    try {
      const { request_id } = await unlessAborted(submitting, signal);
      return await this.#begun(request_id, { onUpdate, signal });
    } finally {
      signal?.removeEventListener("abort", cancel);
    }
  }

  /** The same as `run`. */
  subscribe<const Id extends ModelId<M>>(
    model: Id,
    input: InputOf<M, Id>,
    options?: RunOptions,
  ): Promise<Result<OutputOf<M, Id>>> {
    return this.run(model, input, options);
  }

  /** Submits a request, without waiting for its result. */
  async submit<const Id extends ModelId<M>>(
    model: Id,
    input: InputOf<M, Id>,
    options?: SubmitOptions,
  ): Promise<Submitted> {
    return this.#submit(model, input, options);
  }

  async #submit(
    model: string,
    input: unknown,
    { idempotencyKey = randomKey(), startDeadline, signal }: SubmitOptions = {},
    isKept = false,
  ): Promise<Submitted> {
    const headers: Record<string, string> = { "Idempotency-Key": idempotencyKey };
    if (startDeadline)
      headers["Reelgate-Start-Deadline"] =
        startDeadline instanceof Date ? startDeadline.toISOString() : String(startDeadline);
    return this.#connection.call(path`models/${model}`, { method: "POST", input, headers, signal, isKept });
  }

  async #begun(requestId: string, options: FollowOptions): Promise<Result> {
    options.onUpdate?.(submitted(requestId));
    return this.follow(requestId, options);
  }

  /**
   * Follows an existing request, for example after the page was reloaded, and returns its result once it has
   * succeeded. Its earlier changes come first. If the request ends otherwise, this throws a
   * {@link ReelgateError} with the code `job_failed` or `job_cancelled`, and the `result`.
   *
   * All requests that are followed share one connection, so that calls are not kept waiting by the six that a
   * browser has for a host: make one `Reelgate` for a page. Of all tabs with pages of an origin, the one that came
   * to the front last has that connection, and the others poll; pages without TLS have one each.
   */
  async follow<Output = any>(requestId: string, { onUpdate, signal }: FollowOptions = {}): Promise<Result<Output>> {
    let last: Update | undefined;
    for await (last of this.events(requestId, { signal })) onUpdate?.(last);
    const result = await this.#connection.call<Result>(path`requests/${requestId}/result`, { signal }, FOLLOW);
    if (result.status === "succeeded") return result;
    throw withoutOutput(result, last?.state);
  }

  /** The changes of a request, from the first to the last, each once and in order, even if the connection breaks. */
  events(requestId: string, options: CallOptions = {}): AsyncGenerator<Update, void, void> {
    return this.#watch.updates(requestId, options.signal);
  }

  status(requestId: string, options?: CallOptions): Promise<Status> {
    return this.#get(path`requests/${requestId}/status`, options);
  }

  /** The present result, also of a request that has not ended. */
  result<Output = any>(requestId: string, options?: CallOptions): Promise<Result<Output>> {
    return this.#get(path`requests/${requestId}/result`, options);
  }

  /** Cancels a request that has not started. `outcome` says whether it was cancelled. */
  cancel(requestId: string, options?: CallOptions): Promise<Cancelled> {
    return this.#post(path`requests/${requestId}/cancel`, undefined, options);
  }

  /** The full record of a request: `GET /v1/requests/{request_id}`. */
  request(requestId: string, options?: CallOptions): Promise<Request> {
    return this.#get(path`requests/${requestId}`, options);
  }

  /** The requests that the caller may read, newest first; `next_cursor` is null on the last page. */
  requests(query?: RequestsQuery, options?: CallOptions): Promise<RequestPage> {
    return this.#get(path`requests` + search(query), options);
  }

  /** The models that the caller may use, with schema and price. */
  models(query?: ModelsQuery, options?: CallOptions): Promise<ModelPage> {
    return this.#get(path`models` + search(query), options);
  }

  model(id: ModelId<M>, options?: CallOptions): Promise<Model> {
    return this.#get(path`models/${id}`, options);
  }

  /** What a submit of this input would cost, in micro-credits, and what would refuse it. It spends nothing. */
  quote<const Id extends ModelId<M>>(
    model: Id,
    input: Partial<InputOf<M, Id>>,
    options?: CallOptions,
  ): Promise<Quote> {
    return this.#post(path`quotes/${model}`, input, options);
  }

  /**
   * Uploads a file, for example one that was chosen in a page: its `reference` stands in an input in place of a URL.
   * With `model` it must meet the media rules of that model; a client token has to name one. Repeating it is harmless.
   * Aborting the `signal` ends it, and nothing is kept.
   */
  upload(
    file: Blob & { readonly name?: string },
    { model, place, name = file.name, expiresIn, onProgress, signal }: UploadOptions = {},
  ): Promise<UploadedFile> {
    const query = search({ model_id: model, place, name: name || undefined, expires_in_s: expiresIn });
    return this.#connection.call(path`files` + query, { method: "POST", file, onProgress, signal });
  }

  /** The caller's limits and their usage. */
  quota(options?: CallOptions): Promise<Quota> {
    return this.#get(path`quota`, options);
  }

  /** What was used and spent, by hour, day or month. With an API key that has the scope `usage:read`. */
  usage(query?: UsageQuery, options?: CallOptions): Promise<Usage> {
    return this.#get(path`usage` + search(query), options);
  }

  /** Makes a client token for a page. With an API key that has the scope `tokens:create`, as all that follows. */
  mint(terms: ClientTokenTerms = {}, options?: CallOptions): Promise<MintedClientToken> {
    return this.#post(path`client-tokens`, terms, options);
  }

  tokens(query?: TokensQuery, options?: CallOptions): Promise<ClientTokenPage> {
    return this.#get(path`client-tokens` + search(query), options);
  }

  token(tokenId: string, options?: CallOptions): Promise<ClientTokenInFull> {
    return this.#get(path`client-tokens/${tokenId}`, options);
  }

  /** Ends a client token. Its requests go on. */
  revoke(tokenId: string, options?: CallOptions): Promise<ClientTokenInFull> {
    return this.#post(path`client-tokens/${tokenId}/revoke`, undefined, options);
  }

  #get(place: string, options?: CallOptions): Promise<any> {
    return this.#connection.call(place, { signal: options?.signal });
  }

  #post(place: string, input: unknown, options?: CallOptions): Promise<any> {
    return this.#connection.call(place, { method: "POST", input, signal: options?.signal });
  }
}

/** 128 bits; crypto.randomUUID is for https pages only. */
function randomKey(): string {
  return crypto.getRandomValues(new Uint32Array(4)).join("-");
}
