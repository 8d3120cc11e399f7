/**
 * Types of /client.js: Reelgate in a web page, with a client token that your own server has made
 * (`POST /v1/client-tokens`). The module also runs in workers and in Node 20.
 *
 * ```js
 * import { Reelgate } from "https://reelgate.example/client.js";
 *
 * const gate = new Reelgate({ getToken: () => fetch("/my/token", { method: "POST" }) });
 * const result = await gate.subscribe("bytedance/dreamina-3-0/image-to-video", input, {
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
export const version: string;

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
  getToken: () => Token | Response | Promise<Token | Response>;
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

export interface FollowOptions extends CallOptions {
  /**
   * Called with every change of the request, also of its place in the queue: each once and in order, even if
   * the connection breaks. An error that it throws ends the following, not the request.
   */
  onUpdate?: (update: Update) => void;
}

/** RunComfy's four statuses. `completed` means finished: the result says whether it succeeded. */
export type StatusWord = "in_queue" | "in_progress" | "completed" | "cancelled";

/** The state of a request, in more detail than its status. */
export type State =
  | "accepted" // queued in the gateway
  | "dispatching" // is being sent
  | "in_queue"
  | "in_progress"
  | "unknown" // was sent, and the outcome is not known yet
  | "completed" // with an output
  | "failed"
  | "cancelled"
  | "rejected" // refused by RunComfy; no job was made
  | "expired" // cancelled, because it had not started by its deadline
  | "lost"; // closed, because the outcome will never be known

/** A change of a request. */
export interface Update {
  requestId: string;
  status: StatusWord;
  /** null only in the first update of `subscribe`, which says that the request was submitted. */
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

export interface Submitted {
  request_id: string;
  status_url: string;
  result_url: string;
  cancel_url: string;
}

export interface Status {
  request_id: string;
  status: StatusWord;
  queue_position?: number;
  status_url: string;
  result_url: string;
}

export interface Result {
  request_id: string;
  status: "in_queue" | "in_progress" | "succeeded" | "failed" | "cancelled";
  /** Present when it succeeded, such as `{ video: "https://…" }`. Its members depend on the model. */
  output?: any;
  /** Present when it failed: mostly a sentence. */
  error?: unknown;
  created_at: string;
  finished_at?: string;
}

export interface Cancelled {
  request_id: string;
  status: StatusWord;
  /** A request that is running, has ended or has an unknown outcome is not cancellable. */
  outcome: "cancelled" | "not_cancellable";
}

/** A model's input: the flat object that its schema describes. */
export type Input = Record<string, unknown>;

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

/**
 * A problem, a gateway that cannot be reached, or a request that ended without an output. `message` can be
 * shown to people: it says what is wrong and, for an input, where.
 */
export class ReelgateError extends Error {
  constructor(problem: Problem, more?: { cause?: unknown; result?: Result });
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
}

export class Reelgate {
  constructor(options: Options);

  /** Submits a request, follows it, and returns its result once it has succeeded. */
  subscribe(model: string, input: Input, options?: SubmitOptions & FollowOptions): Promise<Result>;

  /** Submits a request, without waiting for its result. */
  submit(model: string, input: Input, options?: SubmitOptions): Promise<Submitted>;

  /**
   * Follows an existing request, for example after the page was reloaded, and returns its result once it has
   * succeeded. Its earlier changes come first. If the request ends otherwise, this throws a
   * {@link ReelgateError} with the code `job_failed` or `job_cancelled`, and the `result`.
   *
   * All requests that are followed share one connection, so that calls are not kept waiting by the six that a
   * browser has for a host: make one `Reelgate` for a page. Of all tabs with pages of an origin, the one that came
   * to the front last has that connection, and the others poll; pages without TLS have one each.
   */
  follow(requestId: string, options?: FollowOptions): Promise<Result>;

  status(requestId: string, options?: CallOptions): Promise<Status>;

  /** The present result, also of a request that has not ended. */
  result(requestId: string, options?: CallOptions): Promise<Result>;

  /** Cancels a request that has not started. `outcome` says whether it was cancelled. */
  cancel(requestId: string, options?: CallOptions): Promise<Cancelled>;

  /** The full record of a request: `GET /v1/requests/{request_id}`. */
  request(requestId: string, options?: CallOptions): Promise<any>;

  /** The requests that the token may read, newest first; `next_cursor` is null on the last page. */
  requests(
    query?: { limit?: number; cursor?: string; state?: State; model_id?: string },
    options?: CallOptions,
  ): Promise<{ requests: any[]; next_cursor: string | null }>;

  /** The models that the token may use, with schema and price. */
  models(
    query?: {
      search?: string;
      category?: string;
      kind?: "model" | "workflow" | "inference";
      include_schema?: boolean;
      limit?: number;
      offset?: number;
    },
    options?: CallOptions,
  ): Promise<{ models: any[]; total: number; limit: number; offset: number }>;

  model(id: string, options?: CallOptions): Promise<any>;

  /** What a submit of this input would cost, in micro-credits, and what would refuse it. It spends nothing. */
  quote(model: string, input: Input, options?: CallOptions): Promise<any>;

  /** The token's limits and their usage. */
  quota(options?: CallOptions): Promise<any>;
}
