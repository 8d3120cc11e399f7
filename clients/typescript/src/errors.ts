import type { State } from "./documents.js";
import type { FieldError, Problem, Result } from "./types.js";

/**
 * A problem, a gateway that cannot be reached, or a request that ended without an output. `message` can be
 * shown to people: it says what is wrong and, for an input, where.
 */
export class ReelgateError extends Error {
  override readonly name: "ReelgateError";
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

  constructor(problem: Problem, { cause, result }: { cause?: unknown; result?: Result } = {}) {
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

/** @internal */
export function lost(cause: unknown): never {
  const title = "The gateway cannot be reached.";
  throw new ReelgateError({ code: "unreachable", title, retryable: true }, { cause });
}

/** @internal */
export async function refusalOf(answer: Response): Promise<ReelgateError> {
  const { status, headers } = answer;
  const retry_after_s = Number(headers.get("Retry-After")) || undefined;
  const isOurs = headers.get("Content-Type")?.includes("problem"); // and no proxy's
  const problem = isOurs ? await answer.json().catch(lost) : { retryable: status > 501 };
  const title = `HTTP ${status}`;
  return new ReelgateError({ code: "http_error", title, status, retry_after_s, ...problem });
}

/** @internal */
export function withoutOutput(result: Result, state?: State | null): ReelgateError {
  const { status, error, request_id } = result;
  const code = `job_${status}`;
  const title = `The job ${status === "failed" ? status : "was cancelled"}.`;
  const why: any = state === "expired" ? "It had not started by its deadline." : error;
  const detail = why && `${title} ${typeof why === "string" ? why : why.message ?? JSON.stringify(why)}`;
  return new ReelgateError({ code, title, detail, request_id }, { result });
}
