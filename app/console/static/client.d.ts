/**
 * Types of /client.js: Reelgate in a web page, with a client token that your own server has made
 * (`POST /v1/client-tokens`). The module also runs in workers and in Node 20.
 *
 * ```js
 * import { Reelgate } from "https://reelgate.example/client.js";
 *
 * const gate = new Reelgate({ getToken: async () => (await fetch("/my/token", { method: "POST" })).json() });
 * const result = await gate.subscribe("bytedance/dreamina-3-0/image-to-video", input, {
 *   onUpdate: ({ status, queuePosition }) => show(status, queuePosition),
 * });
 * video.src = result.output.video;
 * ```
 *
 * What the gateway answers keeps the gateway's own names (`request_id`); what this module makes has
 * JavaScript's (`requestId`). Times are ISO 8601 in UTC unless a name or a comment says otherwise.
 *
 * **Trying again.** A call that meets a dead network or a refusal that is `retryable` is made again, after
 * 1 to 15 seconds or when `Retry-After` says: six tries in all, within a minute. Following a job goes on
 * until ten minutes have gone without a sign of life. Every submit has an `Idempotency-Key`: it makes one
 * job, however often it is sent. All else is thrown at once, and so is a 422, which is for whoever wrote
 * the input to mend.
 *
 * **Errors.** A refusal, a gateway that cannot be reached, and a job that ends without an output are a
 * {@link ReelgateError}. What `getToken` or `onUpdate` throws comes out of the call as it is, and an aborted
 * call rejects with its signal's `reason`.
 */

/** The project's version, such as "0.1.0". */
export const version: string;

/** A client token, alone or as `POST /v1/client-tokens` answers it. */
export type Token = string | { token: string; expires_at?: string };

export interface Options {
  /**
   * Asked for a token when one is needed: at the first call, 30 seconds before `expires_at` (of a short life,
   * when four fifths are over), and when the gateway refuses the one in use. However many calls wait, it is
   * asked once. What it throws is thrown by those calls; where a job is followed, it is asked again.
   */
  getToken: () => Token | Promise<Token>;
  /** The gateway's address. Default: where the module was loaded from. */
  baseUrl?: string | URL;
  /** In place of the global fetch. */
  fetch?: typeof fetch;
}

export interface CallOptions {
  /** Ends the call, not the job. */
  signal?: AbortSignal;
}

export interface SubmitOptions extends CallOptions {
  /** 1 to 255 printable ASCII characters; the same again is answered with the same job. Default: random. */
  idempotencyKey?: string;
  /** Seconds, or a date, after which a job that has not started is cancelled. */
  startDeadline?: number | string | Date;
}

export interface FollowOptions extends CallOptions {
  /**
   * Called with every change of the job, also of its place in the queue: each once and in order, whatever
   * becomes of the connection. An error that it throws ends the watching, not the job.
   */
  onUpdate?: (update: Update) => void;
}

/** RunComfy's four words. `completed` means finished: the result says whether it succeeded. */
export type StatusWord = "in_queue" | "in_progress" | "completed" | "cancelled";

/** Where a job is, in the gateway's own words. */
export type State =
  | "accepted" // waits in the gateway
  | "dispatching" // is being sent
  | "in_queue"
  | "in_progress"
  | "unknown" // was sent, and its fate is not known yet
  | "completed" // with an output
  | "failed"
  | "cancelled"
  | "rejected" // refused by RunComfy; no job was made
  | "expired" // cancelled, for it had not started by its deadline
  | "lost"; // its fate will not be known any more

/** A change of a job. */
export interface Update {
  requestId: string;
  status: StatusWord;
  /** null in the first update of `subscribe` alone, which says that the job was submitted. */
  state: State | null;
  /** How many go before it, where that is known; null when it does not wait. */
  queuePosition: number | null;
  /** When it came into this state. */
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
  /** There when it succeeded: such as `{ video: "https://…" }`. What is in it depends on the model. */
  output?: any;
  /** There when it failed: mostly a sentence. */
  error?: unknown;
  created_at: string;
  finished_at?: string;
}

export interface Cancelled {
  request_id: string;
  status: StatusWord;
  /** What runs already, is over or of unknown fate is not cancellable. */
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
 * A refusal, a gateway that cannot be reached, or a job that ended without an output. `message` is fit to be
 * shown: what is wrong and, of an input, where.
 */
export class ReelgateError extends Error {
  constructor(problem: Problem, more?: { cause?: unknown; result?: Result });
  readonly name: "ReelgateError";
  /**
   * One of the gateway's (`GET /problems` lists them) or of this module's own: `unreachable`, no answer came;
   * `http_error`, a refusal that is not the gateway's, but a proxy's, say; `job_failed`; and `job_cancelled`,
   * also of a job that had not started by its deadline.
   *
   * With `outcome_unknown` a job may exist: do not submit it again, but `follow` the `requestId`.
   */
  readonly code: string;
  /** Of the HTTP answer, where there was one. */
  readonly status?: number;
  /** What is always so with this code. */
  readonly title: string;
  /** What is so this time. */
  readonly detail?: string;
  readonly errors: FieldError[];
  /** Whether the same call may succeed later. */
  readonly retryable: boolean;
  /** Seconds until then, where they are known. */
  readonly retryAfter?: number;
  /** What to do about it; meant for whoever made the page. */
  readonly remedy?: string;
  readonly requestId?: string;
  /** Quote it to the operator. */
  readonly traceId?: string;
  /** The whole document. */
  readonly problem: Problem;
  /** Of a job that ended: the result without an output. */
  readonly result?: Result;
}

export class Reelgate {
  constructor(options: Options);

  /** Submits a job, follows it, and gives its result once it has succeeded. */
  subscribe(model: string, input: Input, options?: SubmitOptions & FollowOptions): Promise<Result>;

  /** Submits a job, and does not wait for what becomes of it. */
  submit(model: string, input: Input, options?: SubmitOptions): Promise<Submitted>;

  /**
   * Watches a job that exists, after a page was loaded anew, say, and gives its result once it has succeeded.
   * Its earlier changes come first. It throws a {@link ReelgateError} with the code `job_failed` or
   * `job_cancelled` and the `result`, where the job ends otherwise.
   */
  follow(requestId: string, options?: FollowOptions): Promise<Result>;

  status(requestId: string, options?: CallOptions): Promise<Status>;

  /** The result as it is now; also of a job that is not over. */
  result(requestId: string, options?: CallOptions): Promise<Result>;

  /** Cancels a job that waits. `outcome` says whether it could be. */
  cancel(requestId: string, options?: CallOptions): Promise<Cancelled>;

  /** All that the gateway keeps of a job: `GET /v1/requests/{request_id}`. */
  request(requestId: string, options?: CallOptions): Promise<any>;

  /** The jobs that the token sees, newest first; `next_cursor` is null on the last page. */
  requests(
    query?: { limit?: number; cursor?: string; state?: State; model_id?: string },
    options?: CallOptions,
  ): Promise<{ requests: any[]; next_cursor: string | null }>;

  /** The models that the token may use, with schema and price. */
  models(
    query?: { limit?: number; offset?: number },
    options?: CallOptions,
  ): Promise<{ models: any[]; total: number; limit: number; offset: number }>;

  model(id: string, options?: CallOptions): Promise<any>;

  /** What a submit of this input would cost, in micro-credits, and what would refuse it. Spends nothing. */
  quote(model: string, input: Input, options?: CallOptions): Promise<any>;

  /** The token's limits, and what is used of them. */
  quota(options?: CallOptions): Promise<any>;
}
