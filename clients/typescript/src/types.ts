import type { State } from "./documents.js";

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
