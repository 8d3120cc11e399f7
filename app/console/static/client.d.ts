/**
 * Types of /client.js: Reelgate in a web page, with a client token that your own server has made
 * (`POST /v1/client-tokens`). The module also runs in workers and in Node 20.
 *
 * ```js
 * import { Reelgate } from "https://reelgate.example/client.js";
 *
 * const gate = new Reelgate({ getToken: () => fetch("/my/token", { method: "POST" }) });
 * const result = await gate.run("bytedance/dreamina-3-0/image-to-video", input, {
 *   onUpdate: ({ status, queuePosition }) => show(status, queuePosition),
 * });
 * video.src = result.output.video;
 * ```
 *
 * Documents of the gateway keep the gateway's names (`request_id`); objects that this module makes have
 * JavaScript's (`requestId`). Times are ISO 8601 in UTC unless a name or a comment says otherwise.
 *
 * **Trying again.** A call that meets a network failure or a `retryable` problem is repeated after 1 to 15
 * seconds, or when `Retry-After` says: at most six times in all, within a minute. Following a request ends
 * after ten minutes without a sign of life. Every submit has an `Idempotency-Key`: it makes one request,
 * however often it is sent. All other problems are thrown at once, and so is every 422, because the input
 * has to be corrected.
 *
 * **Errors.** A problem, a gateway that cannot be reached, and a request that ends without an output are a
 * {@link ReelgateError}. What `getToken` or `onUpdate` throws is thrown unchanged by the call, and an aborted
 * call rejects with its signal's `reason`.
 */

/** The project's version, such as "0.1.0". */
export const version = "0.1.0";

/**
 * A problem, a gateway that cannot be reached, or a request that ended without an output. `message` can be
 * shown to people: it says what is wrong and, for an input, where.
 */
export class ReelgateError extends Error {
  readonly name: "ReelgateError";
  /**
   * A code of the gateway's (`GET /problems` lists them) or of this module: `unreachable`, no answer came;
   * `http_error`, an error that did not come from the gateway, but for example from a proxy; `no_token`,
   * `getToken` gave none; `no_gateway`, something else answers at `baseUrl`; `job_failed`; and
   * `job_cancelled`, also for a request that had not started by its deadline.
   *
   * After `outcome_unknown` a job may exist: do not submit it again, but `follow` the `requestId`.
   */
  readonly code: string;
  /** The status of the HTTP response, if there was one. */
  readonly status?: number;
  /** A sentence that is the same for every problem with this code. */
  readonly title: string;
  /** A sentence about this occurrence. */
  readonly detail?: string;
  readonly errors: FieldError[];
  /** Whether the same call may succeed later. */
  readonly retryable: boolean;
  /** Seconds to wait before that, where known. */
  readonly retryAfter?: number;
  /** What to do about it; for the developer of the page. */
  readonly remedy?: string;
  readonly requestId?: string;
  /** Quote it to the operator. */
  readonly traceId?: string;
  /** The whole problem document. */
  readonly problem: Problem;
  /** For a request that ended: its result, without an output. */
  readonly result?: Result;
  constructor(problem: Problem, { cause, result }?: {
    cause?: unknown;
    result?: Result;
  });
}

/**
 * A gateway, as one page, server or script sees it. `M` has the types of its models' inputs and outputs: those that
 * this gateway comes with, or those that `npx reelgate types` wrote. Models that are not in it take any object.
 */
export class Reelgate<M extends ModelMap<M> = Models> {
  #private;
  constructor(options: Options);
  /**
   * Submits a request, follows it, and returns its result once it has succeeded. `onUpdate` is told the id before
   * anything is waited for. Aborting the `signal` ends the waiting; the request goes on, unless `cancelOnAbort`.
   */
  run<const Id extends ModelId<M>>(model: Id, input: InputOf<M, Id>, { onUpdate, cancelOnAbort, ...options }?: RunOptions): Promise<Result<OutputOf<M, Id>>>;
  /** The same as `run`. */
  subscribe<const Id extends ModelId<M>>(model: Id, input: InputOf<M, Id>, options?: RunOptions): Promise<Result<OutputOf<M, Id>>>;
  /** Submits a request, without waiting for its result. */
  submit<const Id extends ModelId<M>>(model: Id, input: InputOf<M, Id>, options?: SubmitOptions): Promise<Submitted>;
  /**
   * Follows an existing request, for example after the page was reloaded, and returns its result once it has
   * succeeded. Its earlier changes come first. If the request ends otherwise, this throws a
   * {@link ReelgateError} with the code `job_failed` or `job_cancelled`, and the `result`.
   *
   * All requests that are followed share one connection, so that calls are not kept waiting by the six that a
   * browser has for a host: make one `Reelgate` for a page. Of all tabs with pages of an origin, the one that came
   * to the front last has that connection, and the others poll; pages without TLS have one each.
   */
  follow<Output = any>(requestId: string, { onUpdate, signal }?: FollowOptions): Promise<Result<Output>>;
  /** The changes of a request, from the first to the last, each once and in order, even if the connection breaks. */
  events(requestId: string, options?: CallOptions): AsyncGenerator<Update, void, void>;
  status(requestId: string, options?: CallOptions): Promise<Status>;
  /** The present result, also of a request that has not ended. */
  result<Output = any>(requestId: string, options?: CallOptions): Promise<Result<Output>>;
  /** Cancels a request that has not started. `outcome` says whether it was cancelled. */
  cancel(requestId: string, options?: CallOptions): Promise<Cancelled>;
  /** The full record of a request: `GET /v1/requests/{request_id}`. */
  request(requestId: string, options?: CallOptions): Promise<Request>;
  /** The requests that the caller may read, newest first; `next_cursor` is null on the last page. */
  requests(query?: RequestsQuery, options?: CallOptions): Promise<RequestPage>;
  /** The models that the caller may use, with schema and price. */
  models(query?: ModelsQuery, options?: CallOptions): Promise<ModelPage>;
  model(id: ModelId<M>, options?: CallOptions): Promise<Model>;
  /** What a submit of this input would cost, in micro-credits, and what would refuse it. It spends nothing. */
  quote<const Id extends ModelId<M>>(model: Id, input: Partial<InputOf<M, Id>>, options?: CallOptions): Promise<Quote>;
  /**
   * Uploads a file, for example one that was chosen in a page: its `reference` stands in an input in place of a URL.
   * With `model` it must meet the media rules of that model; a client token has to name one. Repeating it is harmless.
   * Aborting the `signal` ends it, and nothing is kept.
   */
  upload(file: Blob & {
    readonly name?: string;
  }, { model, place, name, expiresIn, onProgress, signal }?: UploadOptions): Promise<UploadedFile>;
  /** The caller's limits and their usage. */
  quota(options?: CallOptions): Promise<Quota>;
  /** What was used and spent, by hour, day or month. With an API key that has the scope `usage:read`. */
  usage(query?: UsageQuery, options?: CallOptions): Promise<Usage>;
  /** Makes a client token for a page. With an API key that has the scope `tokens:create`, as all that follows. */
  mint(terms?: ClientTokenTerms, options?: CallOptions): Promise<MintedClientToken>;
  tokens(query?: TokensQuery, options?: CallOptions): Promise<ClientTokenPage>;
  token(tokenId: string, options?: CallOptions): Promise<ClientTokenInFull>;
  /** Ends a client token. Its requests go on. */
  revoke(tokenId: string, options?: CallOptions): Promise<ClientTokenInFull>;
}

/** A client token, alone or as `POST /v1/client-tokens` answers it; other members are ignored. */
export type Token = string | { token: string; expires_at?: string };

export interface Options {
  /**
   * Called when a token is needed: at the first call, 30 seconds before `expires_at` (for a short lifetime,
   * after four fifths of it), and when the gateway refuses the token in use. It is called once for all calls
   * that need a token. What it throws is thrown by those calls; while following a request, it is called again.
   *
   * It may return the answer of your server as `fetch` gives it: where that is a refusal, empty, no JSON or
   * without a token, the calls throw a {@link ReelgateError} with the code `no_token`, which says what it was.
   */
  getToken?: () => Token | Response | Promise<Token | Response>;
  /** An API key, in place of `getToken`: on servers and in scripts, where nobody else can read it. */
  apiKey?: string;
  /** Whether `apiKey` may be in a page all the same, for example in a tool that only its owner opens. */
  dangerouslyAllowBrowser?: boolean;
  /** The gateway's address. Default: where the module was loaded from; a copy of the module has to name it. */
  baseUrl?: string | URL;
  /** A replacement for the global fetch. */
  fetch?: typeof fetch;
}

export interface CallOptions {
  /** Ends the call, not the request. */
  signal?: AbortSignal;
}

export interface SubmitOptions extends CallOptions {
  /** 1 to 255 printable ASCII characters; the same key is answered with the same request. Default: random. */
  idempotencyKey?: string;
  /** Seconds, or a date, after which a request that has not started is cancelled. */
  startDeadline?: number | string | Date;
}

export interface UploadOptions extends CallOptions {
  /** The model whose media rules the file must meet before it is kept. */
  model?: string;
  /** The input that it is for, such as "/image_urls/*", where a model has several with different rules. */
  place?: string;
  /** Default: the file's own. */
  name?: string;
  /** For how many seconds it is kept, if that is less than the gateway's own limit. */
  expiresIn?: number;
  /** Called in pages with how many bytes have been sent, and of how many. */
  onProgress?: (sent: number, of: number) => void;
}

export interface FollowOptions extends CallOptions {
  /**
   * Called with every change of the request, also of its place in the queue: each once and in order, even if
   * the connection breaks. An error that it throws ends the following, not the request.
   */
  onUpdate?: (update: Update) => void;
}

export interface RunOptions extends SubmitOptions, FollowOptions {
  /**
   * Whether the `signal` also cancels the request, if it has not started. What was being submitted is waited for
   * in the background, to be cancelled too.
   */
  cancelOnAbort?: boolean;
}

/** RunComfy's four statuses. `completed` means finished: the result says whether it succeeded. */
export type StatusWord = "in_queue" | "in_progress" | "completed" | "cancelled";

/** A change of a request. */
export interface Update {
  requestId: string;
  status: StatusWord;
  /** null only in the first update of `run`, which says that the request was submitted. */
  state: State | null;
  /** How many requests are ahead of it, where known; null when it is not queued. */
  queuePosition: number | null;
  /** When it entered this state. */
  at: string | null;
  /** 1, 2, 3 … with each state; 0 in the first update. */
  version: number;
  /** Whether it is the last one. */
  final: boolean;
}

/** The result of a request; the type of its output depends on the model. */
export interface Result<Output = any> {
  request_id: string;
  status: "in_queue" | "in_progress" | "succeeded" | "failed" | "cancelled";
  /** Present when it succeeded, such as `{ video: "https://…" }`. */
  output?: Output;
  /** Present when it failed: mostly a sentence. */
  error?: unknown;
  created_at: string;
  finished_at?: string;
}

/** A model's input: the flat object that its schema describes. */
export type Input = Record<string, unknown>;

/** The types of a gateway's models, by their ids. */
export type ModelMap<M> = { [Id in keyof M]: { input: object; output: object } };

/** An id of the map's, or any other. */
export type ModelId<M> = (keyof M & string) | (string & {});

export type InputOf<M, Id> = Id extends keyof M ? (M[Id] extends { input: infer I } ? I : Input) : Input;

export type OutputOf<M, Id> = Id extends keyof M ? (M[Id] extends { output: infer O } ? O : any) : any;

/** A violation: which member of the input (a JSON pointer such as "#/resolution"), a code, and a sentence. */
export interface FieldError {
  pointer: string;
  code: string;
  detail: string;
}

/** A problem document (RFC 9457) as the gateway sends it. */
export interface Problem {
  code: string;
  title: string;
  type?: string;
  status?: number;
  detail?: string;
  instance?: string;
  retryable?: boolean;
  retry_after_s?: number;
  remedy?: string;
  request_id?: string;
  trace_id?: string;
  errors?: FieldError[];
  [member: string]: unknown;
}

// The documents of the API, written from openapi.json by `make clients-js`. Change nothing here.

/** The state of a request, in more detail than RunComfy's status. */
export type State = "accepted" | "dispatching" | "in_queue" | "in_progress" | "completed" | "failed" | "cancelled" | "rejected" | "expired" | "unknown" | "lost";

export interface Submitted {
  /** The gateway's id of the request, a UUIDv7. */
  request_id: string;
  status_url: string;
  result_url: string;
  cancel_url: string;
}

export interface Status {
  /** The gateway's id of the request, a UUIDv7. */
  request_id: string;
  /** `completed` means finished: the result says whether it succeeded. */
  status: "cancelled" | "completed" | "in_progress" | "in_queue";
  /** How many requests are ahead of it; only in `in_queue`. */
  queue_position?: number;
  status_url: string;
  result_url: string;
}

export interface Cancelled {
  /** The gateway's id of the request, a UUIDv7. */
  request_id: string;
  /** `completed` means finished: the result says whether it succeeded. */
  status: "cancelled" | "completed" | "in_progress" | "in_queue";
  outcome: "cancelled" | "not_cancellable";
}

export interface RequestSummary {
  /** The gateway's id of the request, a UUIDv7. */
  request_id: string;
  status_url: string;
  result_url: string;
  cancel_url: string;
  /** `completed` means finished: the result says whether it succeeded. */
  status: "cancelled" | "completed" | "in_progress" | "in_queue";
  state: State;
  model_id: string;
  /** The mode of the key that made it. */
  mode: "live" | "test";
  /** The API key that made it. */
  kid: string;
  /** The client token that made it, if any. */
  token_id: string | null;
  /** The end user for whom that token was made. */
  end_user: string | null;
  price_microcredits: number | null;
  /** What it costs since its price was corrected; null: it was not corrected. */
  repriced_microcredits: number | null;
  /** The seconds of output that it ordered, as limits count them. */
  output_seconds: number;
  /** What became of its price: held while the request is under way, then settled or refunded. */
  charge: "held" | "settled" | "refunded" | null;
  created_at: string;
  changed_at: string;
  finished_at: string | null;
}

export interface RequestPage {
  requests: RequestSummary[];
  /** The `cursor` of the next page; null on the last page. */
  next_cursor: string | null;
}

export interface Request {
  /** The gateway's id of the request, a UUIDv7. */
  request_id: string;
  status_url: string;
  result_url: string;
  cancel_url: string;
  /** `completed` means finished: the result says whether it succeeded. */
  status: "cancelled" | "completed" | "in_progress" | "in_queue";
  state: State;
  model_id: string;
  /** The mode of the key that made it. */
  mode: "live" | "test";
  /** The API key that made it. */
  kid: string;
  /** The client token that made it, if any. */
  token_id: string | null;
  /** The end user for whom that token was made. */
  end_user: string | null;
  price_microcredits: number | null;
  /** What it costs since its price was corrected; null: it was not corrected. */
  repriced_microcredits: number | null;
  /** The seconds of output that it ordered, as limits count them. */
  output_seconds: number;
  /** What became of its price: held while the request is under way, then settled or refunded. */
  charge: "held" | "settled" | "refunded" | null;
  created_at: string;
  changed_at: string;
  finished_at: string | null;
  /** Grows by one with every change of state. */
  version: number;
  /** The input that the caller sent. */
  input: Record<string, unknown>;
  /** What the gateway knows of the input's files; null: they were not inspected. */
  media: File[] | null;
  /** RunComfy's output, with RunComfy's own URLs: any of `image`, `video`, `audio` (a URL) and `images`, `videos` (lists of URLs). */
  output: Record<string, unknown> | null;
  /** Why the request failed, in RunComfy's own form: a string, an object or a list. Where Reelgate itself ended it, an object with `code` and `message`. */
  error: unknown;
  /** How many requests are ahead of it, here and at RunComfy, as last known. */
  queue_position: number | null;
  price_version: string | null;
  /** When it was sent to RunComfy. */
  sent_at: string | null;
  /** When it is cancelled if it has not started. */
  start_deadline: string | null;
  /** While it is queued, by how long jobs usually take; null: unknown. */
  estimated_start_at: string | null;
  started_at: string | null;
  /** When the output will be erased. */
  output_expires_at: string | null;
  /** When the output was erased. */
  output_erased_at: string | null;
  /** When RunComfy was last polled. */
  checked_at: string | null;
  idempotency_key: string | null;
  /** The webhook endpoint that its submit named. */
  webhook_endpoint_id: string | null;
  trace_id: string;
  events: RecordedEvent[];
  /** The copies of its output in the gateway's store; empty: it is not mirrored. */
  assets: Asset[];
}

export interface Asset {
  /** The asset's id. */
  asset_id: string;
  /** The gateway's id of the request, a UUIDv7. */
  request_id: string;
  /** The file's place in `output`, as a JSON pointer such as `/videos/0`. */
  pointer: string;
  /** `pending` and `copying` end as `stored`, as `failed` (it is no picture or video, or too large) or as `gone` (RunComfy's link ended before); a stored copy ends as `expired`. */
  state: "pending" | "copying" | "stored" | "failed" | "gone" | "expired";
  /** Why the last attempt to copy it failed, as a class such as `status_404`. */
  error: string | null;
  /** How many attempts to copy it have begun. */
  attempts: number;
  /** When it is copied again, while it is `pending`. */
  next_attempt_at: string | null;
  /** By its bytes, whatever RunComfy called it. */
  media_type: string | null;
  size_bytes: number | null;
  /** Of its bytes, in hexadecimal; null: there is no copy yet. */
  sha256: string | null;
  stored_at: string | null;
  /** When the copy is removed; null: never, or there is none. */
  expires_at: string | null;
  /** Where the copy is served to whoever may read the request; null: it is not served. */
  url: string | null;
}

export interface RecordedEvent {
  version: number;
  /** The event's number among all of the tenant's in this mode: 1, 2, 3 … */
  number: number;
  state: State;
  at: string;
  reason: string;
}

/** One model of the catalogue, in RunComfy's shape with additions. */
export interface Model {
  model_id: string;
  display_name: string;
  /** How RunComfy runs it. */
  kind: "model" | "workflow" | "inference";
  /** What it makes of what, such as `image-to-video`. */
  categories: string[];
  /** The price that lists show. A quote has the price of an input. */
  base_price_usd: number;
  /** What `base_price_usd` buys, such as `second` or `output`. */
  price_unit: string;
  /** RunComfy's page of the model. */
  model_url: string;
  /** The names of all inputs. */
  inputs: string[];
  required_inputs: string[];
  /** RunComfy's own schema, verbatim. */
  input_schema: Record<string, unknown>;
  output_schema: Record<string, unknown> | null;
  /** The operator's price list, in micro-credits. */
  pricing: Record<string, unknown>;
  /** How many seconds of output an input orders. Absent: the model does not declare them, and limits on seconds of output refuse its requests. */
  output_seconds?: number | Record<string, unknown>;
  warnings: ModelWarning[];
  media_rules: MediaRuleNote[];
  media_inputs: MediaInputNote[];
}

/** One model in a list, as in RunComfy's. */
export interface ListedModel {
  model_id: string;
  display_name: string;
  /** How RunComfy runs it. */
  kind: "model" | "workflow" | "inference";
  /** What it makes of what, such as `image-to-video`. */
  categories: string[];
  /** The price that lists show. A quote has the price of an input. */
  base_price_usd: number;
  /** What `base_price_usd` buys, such as `second` or `output`. */
  price_unit: string;
  /** RunComfy's page of the model. */
  model_url: string;
  /** The names of all inputs. */
  inputs: string[];
  required_inputs: string[];
  /** RunComfy's own schema, verbatim, where `include_schema` asks for it. */
  input_schema?: Record<string, unknown>;
  output_schema?: Record<string, unknown> | null;
  /** The operator's price list, in micro-credits. */
  pricing: Record<string, unknown>;
  /** How many seconds of output an input orders. Absent: the model does not declare them, and limits on seconds of output refuse its requests. */
  output_seconds?: number | Record<string, unknown>;
  warnings: ModelWarning[];
  media_rules: MediaRuleNote[];
  media_inputs: MediaInputNote[];
}

export interface ModelPage {
  models: ListedModel[];
  /** How many models match, on all pages. */
  total: number;
  limit: number;
  offset: number;
}

export interface ModelWarning {
  pointer: string;
  reason: string;
}

export interface MediaRuleNote {
  /** A JSON Pointer, in which `*` stands for every element. */
  pointer: string;
  kind: string;
  /** The rule as RunComfy writes it. */
  rule: string;
  value: number;
  message: string;
  enforced: boolean;
  /** Why the rule is not enforced. */
  note: string | null;
}

export interface MediaInputNote {
  /** A JSON Pointer, in which `*` stands for every element. */
  pointer: string;
  kind: string;
  /** The accepted media types; empty: all of this kind. */
  types: string[];
}

export interface Limit {
  /** The limit's name, as in `RateLimit-Policy` and `violated-policies`. */
  policy: string;
  /** Whose limit it is. */
  holder: "tenant" | "key" | "end-user" | "token";
  /** The model that it applies to; null: all models. */
  model_id: string | null;
  metric: "submits-minute" | "in-flight" | "stored-bytes" | "generations-day" | "generations-month" | "generations-total" | "credits-day" | "credits-month" | "credits-total" | "output-seconds-day" | "output-seconds-month" | "output-seconds-total" | "reads-minute" | "calls-minute" | "tokens-minute";
  unit: "bytes" | "calls" | "generations" | "microcredits" | "output-seconds" | "reads" | "requests" | "submits" | "tokens";
  limit: number;
  /** Of a rate: how many may come at once, if not `limit`. */
  burst: number | null;
  /** Set aside for requests under way; it may be refunded. */
  held: number;
  spent: number;
  /** At least 0. */
  remaining: number;
  /** The day, the month, or `total`. */
  period: string | null;
  resets_at: string | null;
  /** Where `limit` is a temporary override's: when that ends. */
  override_until: string | null;
  /** In a refusal: how much the refused request needs. */
  wanted?: number;
}

/** What the gateway knows of a file of the input. */
export interface File {
  /** The file's place in the input. */
  pointer: string;
  /** Its media type, by its first bytes; null: unknown. */
  type: string | null;
  size_bytes: number | null;
  /** In pixels, as stored in the file. */
  width: number | null;
  height: number | null;
  errors: FileError[];
}

export interface FileError {
  code: string;
  detail: string;
}

export interface UploadedFile {
  /** The id of an uploaded file, a UUIDv7. */
  file_id: string;
  /** What an input has in place of the file's URL: `rg-file:` and the id. */
  reference: string;
  mode: "live" | "test";
  /** What its sender called it. */
  name: string | null;
  /** The model whose rules it was judged by; null: none. */
  model_id: string | null;
  /** Its media type, by its bytes. */
  type: string;
  bytes: number;
  /** In pixels, of a picture; null where it is not known. */
  width: number | null;
  /** In pixels, as `width`. */
  height: number | null;
  /** The SHA-256 of its bytes, in hex; also its entity tag. */
  sha256: string;
  /** The end user whose client token uploaded it. */
  end_user: string | null;
  created_at: string;
  /** When it is deleted; null: never. */
  expires_at: string | null;
}

export interface Violation {
  /** Where it is wrong: a JSON Pointer (RFC 6901) in fragment form. */
  pointer: string;
  code: string;
  detail: string;
}

export interface Sums {
  held_generations: number;
  spent_generations: number;
  held_microcredits: number;
  spent_microcredits: number;
  held_output_seconds: number;
  spent_output_seconds: number;
}

export interface PeriodUsage {
  holder: "tenant" | "key" | "end-user" | "token";
  model_id: string | null;
  /** The day, the month, or `total`. */
  period: string;
  held_generations: number;
  spent_generations: number;
  held_microcredits: number;
  spent_microcredits: number;
  held_output_seconds: number;
  spent_output_seconds: number;
  /** Top-ups and adjustments. */
  added_microcredits: number;
}

export interface Queue {
  /** Whether requests that cannot be sent yet are accepted and queued. */
  queueable: boolean;
  /** How many of the tenant's requests are queued. */
  queued?: number;
  /** How many may be queued. */
  max_queued?: number;
  /** The tenant's share of what is sent while other tenants have queued requests. */
  weight?: number;
  /** Whether the operator has paused sending. */
  paused: boolean;
}

export interface Quota {
  tenant: string;
  /** The API key that the limits belong to; of a rotated key, the original one. */
  kid: string;
  /** The client token that asks, if any. It is shown only its own limits. */
  token_id: string | null;
  /** The end user for whom that token was made. */
  end_user: string | null;
  mode: "live" | "test";
  at: string;
  /** The time zone in which days and months are counted. */
  time_zone: string;
  limits: Limit[];
  /** The tenant's queue. Only API keys are shown the numbers. */
  queue: Queue;
  usage: PeriodUsage[];
}

export interface QuoteRefusal {
  code: string;
  detail: string;
  retry_after_s: number | null;
  /** The names of the limits that do not allow it. */
  "violated-policies": string[];
}

export interface Quote {
  model_id: string;
  price_microcredits: number | null;
  /** Null: the model does not declare them, or the input is not valid. */
  output_seconds: number | null;
  price_version: string;
  /** Whether a submit of this input would be accepted. */
  admissible: boolean;
  /** Whether the request would be queued before it is sent. */
  would_queue: boolean;
  errors: Violation[];
  /** What the gateway knows of the input's files; null: they were not inspected. */
  media: File[] | null;
  limits: Limit[];
  refusal: QuoteRefusal | null;
}

export interface UsageSums {
  /** Generations that were submitted, whose price was held. */
  held_generations: number;
  held_microcredits: number;
  /** Generations whose price was settled. */
  spent_generations: number;
  spent_microcredits: number;
  /** Generations whose price was given back. */
  refunded_generations: number;
  refunded_microcredits: number;
  /** Calls that were answered with an error; of no model. */
  refused_calls: number;
  /** Generations that came to their final state. */
  ended_generations: number;
  /** Top-ups. */
  added_microcredits: number;
  /** Adjustments, corrections of prices among them. */
  adjusted_microcredits: number;
}

export interface UsageRow {
  /** Generations that were submitted, whose price was held. */
  held_generations: number;
  held_microcredits: number;
  /** Generations whose price was settled. */
  spent_generations: number;
  spent_microcredits: number;
  /** Generations whose price was given back. */
  refunded_generations: number;
  refunded_microcredits: number;
  /** Calls that were answered with an error; of no model. */
  refused_calls: number;
  /** Generations that came to their final state. */
  ended_generations: number;
  /** Top-ups. */
  added_microcredits: number;
  /** Adjustments, corrections of prices among them. */
  adjusted_microcredits: number;
  /** The hour's start, the day or the month, as `by` says. */
  period: string;
  model_id?: string | null;
  /** The first key of its line of rotations. */
  kid?: string | null;
  end_user?: string | null;
  token_id?: string | null;
  /** `submitted`, the state that ended it, or `refused`. */
  outcome?: string | null;
}

export interface Usage {
  /** The time zone whose days and months these are. */
  time_zone: string;
  /** When the time zone was last changed: earlier days are of the one before. */
  time_zone_since: string | null;
  by: "hour" | "day" | "month";
  first_day: string;
  /** It is included. */
  last_day: string;
  group_by: string[];
  rows: UsageRow[];
  /** The sums of all pages. */
  total: UsageSums;
  next_cursor: string | null;
}

export interface Bound {
  /** The only values that are allowed. */
  enum?: unknown[];
  minimum?: number;
  maximum?: number;
  /** Of a text or a list: its maximum length. At least 0. */
  max_length?: number;
}

export interface ClientTokenTerms {
  /** Seconds until the token expires. It never outlives its API key. At least 10. At most 3600. Default: `600`. */
  lifetime_s?: number;
  /** The only models that the token may use. */
  models?: string[];
  /** Bounds of the inputs of `models`. */
  bounds?: Record<string, Bound>;
  /** The maximum number of its requests. At least 0. At most 999999999. */
  max_generations?: number;
  /** The maximum cost of its requests, in micro-credits. At least 0. At most 999999999000000. */
  max_microcredits?: number;
  /** How many bytes of files it may upload in its life. If it is left out, the operator's setting. At least 0. At most 999999999999999. */
  max_upload_bytes?: number;
  /** The web origins that may use it; each must be one of the tenant's. */
  origins?: string[];
  /** The person for whom it is made: a label of yours. Each has limits of its own. */
  end_user?: string;
  /** Which requests it may read: those that it made (`token`), or those of all tokens of its end user (`end_user`). Default: `end_user` if it has an end user, else `token`. */
  visibility?: "token" | "end_user";
  /** The only request that it may read; it may do nothing else. */
  request_id?: string;
}

export interface ClientToken {
  /** The token's public identifier, not the token itself. */
  token_id: string;
  /** Its own state, or its API key's where that is not active. */
  state: "active" | "expired" | "revoked" | "disabled";
  /** The API key that created it. */
  kid: string;
  mode: "live" | "test";
  scopes: ("read" | "submit")[];
  models: string[] | null;
  bounds: Record<string, Bound> | null;
  max_generations: number | null;
  max_microcredits: number | null;
  max_upload_bytes: number | null;
  origins: string[] | null;
  end_user: string | null;
  visibility: "token" | "end_user" | "request";
  /** The gateway's id of the request, a UUIDv7. */
  request_id: string | null;
  created_at: string;
  expires_at: string;
  revoked_at: string | null;
  /** When it was last used, to the minute. */
  last_used_at: string | null;
  /** How many of its calls were refused. */
  refusals: number;
}

export interface MintedClientToken {
  /** The token itself, `rg_client_…`. It is shown only once. */
  token: string;
  /** The token's public identifier, not the token itself. */
  token_id: string;
  /** Its own state, or its API key's where that is not active. */
  state: "active" | "expired" | "revoked" | "disabled";
  /** The API key that created it. */
  kid: string;
  mode: "live" | "test";
  scopes: ("read" | "submit")[];
  models: string[] | null;
  bounds: Record<string, Bound> | null;
  max_generations: number | null;
  max_microcredits: number | null;
  max_upload_bytes: number | null;
  origins: string[] | null;
  end_user: string | null;
  visibility: "token" | "end_user" | "request";
  /** The gateway's id of the request, a UUIDv7. */
  request_id: string | null;
  created_at: string;
  expires_at: string;
  revoked_at: string | null;
  /** When it was last used, to the minute. */
  last_used_at: string | null;
  /** How many of its calls were refused. */
  refusals: number;
}

export interface ClientTokenPage {
  client_tokens: ClientToken[];
  /** The `cursor` of the next page; null on the last page. */
  next_cursor: string | null;
}

export interface TokenRefusal {
  at: string;
  /** The problem's code. */
  code: string;
  detail: string;
  /** Method and path of the call. */
  call: string;
  /** The web page's origin. */
  origin: string | null;
  trace_id: string;
}

export interface ClientTokenInFull {
  /** The token's public identifier, not the token itself. */
  token_id: string;
  /** Its own state, or its API key's where that is not active. */
  state: "active" | "expired" | "revoked" | "disabled";
  /** The API key that created it. */
  kid: string;
  mode: "live" | "test";
  scopes: ("read" | "submit")[];
  models: string[] | null;
  bounds: Record<string, Bound> | null;
  max_generations: number | null;
  max_microcredits: number | null;
  max_upload_bytes: number | null;
  origins: string[] | null;
  end_user: string | null;
  visibility: "token" | "end_user" | "request";
  /** The gateway's id of the request, a UUIDv7. */
  request_id: string | null;
  created_at: string;
  expires_at: string;
  revoked_at: string | null;
  /** When it was last used, to the minute. */
  last_used_at: string | null;
  /** How many of its calls were refused. */
  refusals: number;
  /** What it has used; refunded amounts are not counted. */
  usage: Sums;
  /** Its newest requests, the newest first. */
  newest_requests: string[];
  newest_refusals: TokenRefusal[];
}

export interface RequestsQuery {
  /** The maximum number of entries on a page. At least 1. At most 100. Default: `20`. */
  limit?: number;
  /** The `next_cursor` of the previous page. At most 200 characters. */
  cursor?: string;
  /** Only what is in this state; repeat it for several. At most 11. */
  state?: State[];
  /** Only this model. At most 200 characters. */
  model_id?: string;
  /** Only what this client token made. */
  token_id?: string;
  /** Only entries of this end user. */
  end_user?: string;
  /** Only what was made at this moment or later. */
  created_after?: string;
  /** Only what was made before this moment. */
  created_before?: string;
}

export interface ModelsQuery {
  /** Only models whose id, name or description has this text. At most 200 characters. Default: `""`. */
  search?: string;
  /** Only models of this category, such as `image-to-video`. At most 200 characters. Default: `""`. */
  category?: string;
  /** Only what is of this kind. */
  kind?: "model" | "workflow" | "inference";
  /** Whether the entries have `input_schema` and `output_schema`. Default: `false`. */
  include_schema?: boolean;
  /** The maximum number of entries on a page. At least 1. At most 500. Default: `50`. */
  limit?: number;
  /** How many entries to skip. At least 0. At most 1000000. Default: `0`. */
  offset?: number;
}

export interface UsageQuery {
  /** The first day, in the tenant's time zone; by default the first of this month. */
  from?: string;
  /** The last day, which is included; by default today. */
  to?: string;
  /** How long each period is. */
  by?: "hour" | "day" | "month";
  /** Sums for each of these; repeat it for several. At most 6. */
  group_by?: ("model" | "key" | "end_user" | "token" | "outcome")[];
  /** Only this model. At most 200 characters. */
  model_id?: string;
  /** Only this API key, by its public identifier. */
  kid?: string;
  /** Only what this client token made. */
  token_id?: string;
  /** Only entries of this end user. */
  end_user?: string;
  /** Only what ended so: a state, `submitted` or `refused`. */
  outcome?: string;
  /** The maximum number of entries on a page. At least 1. At most 1000. Default: `1000`. */
  limit?: number;
  /** The `next_cursor` of the previous page. At most 600 characters. */
  cursor?: string;
}

export interface TokensQuery {
  /** The maximum number of entries on a page. At least 1. At most 100. Default: `20`. */
  limit?: number;
  /** The `next_cursor` of the previous page. At most 200 characters. */
  cursor?: string;
  /** Only entries of this end user. */
  end_user?: string;
}

// Written from the catalogue by `make clients-js`. Change nothing here.

/** The input and output of the models that this gateway comes with. `npx reelgate types` writes those of yours. */
export interface Models {
  /** Dreamina 3.0 */
  "bytedance/dreamina-3-0/image-to-video": {
    input: {
      /** Upload JPEG/PNG format At most 1. */
      image_urls: string[];
      /** At most 800 characters. */
      prompt: string;
      /** Total frames of the generated video. Supported values: 121 (≈5s) and 241 (≈10s). Default: `121`. */
      number_of_frames?: 121 | 241;
      /** Default: `"720P"`. */
      resolution?: "720P" | "1080P";
      /** Default: `-1`. */
      seed?: number;
    };
    output: {
      /** single image URL */
      image?: string;
      /** single video URL */
      video?: string;
      /** multiple image URLs */
      images?: string[];
      /** multiple video URLs */
      videos?: string[];
    };
  };
}
