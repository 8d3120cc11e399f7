import { ReelgateError } from "./errors.js";

export const SILENCE_MS = 40_000; // the server pings every 15 s

export const UPLOAD_MS = 3_600_000; // and an upload is answered only when the file is kept

export interface Bounds {
  tries: number;
  /** In milliseconds. */
  within: number;
  /** Whether errors of getToken are forgiven. */
  stubborn?: boolean;
}
export const CALL: Bounds = { tries: 6, within: 60_000 };
export const FOLLOW: Bounds = { tries: Infinity, within: 600_000, stubborn: true };

/** When to try again: later each time, not before `Retry-After`, and not for ever. */
export class Patience {
  failures = 0; // in a row
  spent = 0; // ms since the last sign of life, less those that the computer slept
  #began = Date.now();

  constructor(
    public signal: AbortSignal | undefined,
    private readonly bounds: Bounds,
  ) {}

  /** Waits for the next try; throws the failure (null is none) where none can help. */
  async after(failure: any = new Error("getToken failed.")): Promise<void> {
    this.signal?.throwIfAborted();
    const { tries, within, stubborn } = this.bounds;
    const pause_s = Math.max(failure?.retryAfter ?? 0, Math.min(15, 2 ** this.failures++));
    const pause = pause_s * (1000 + 250 * Math.random());
    this.spent += pause + Math.min(Date.now() - this.#began, SILENCE_MS);
    const mayTry = this.failures < tries && this.spent < within && mayHelp(failure, stubborn);
    if (failure && !mayTry) throw failure;
    await passed(pause, this.signal, failure?.code === "unreachable");
    this.#began = Date.now();
  }
}

/** Only the stubborn forgive getToken its errors. What was sent (422) is for its sender to mend. */
function mayHelp(failure: unknown, stubborn = false): boolean {
  if (!(failure instanceof ReelgateError)) return stubborn;
  return failure.retryable && failure.status !== 422 && (stubborn || failure.code !== "no_token");
}

/** A signal that fires with the caller's, at the `end`, and after a time without a sign of life. */
export function watched(signal?: AbortSignal, ms = SILENCE_MS) {
  signal?.throwIfAborted();
  const controller = new AbortController();
  let timer: any;
  const end = (reason?: unknown) => {
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

/** Waits; no longer when the signal fires or, where that helps, the network is back. */
export function passed(ms: number, signal?: AbortSignal, online = false): Promise<unknown> {
  const { signal: over, end } = watched(signal, ms);
  if (online) globalThis.addEventListener?.("online", end, { signal: over });
  return new Promise((resolve) => over.addEventListener("abort", resolve));
}

export function unlessAborted<T>(promise: Promise<T>, signal?: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const leave = () => reject(signal!.reason);
    signal?.addEventListener("abort", leave);
    promise.finally(() => signal?.removeEventListener("abort", leave)).then(resolve, reject);
  });
}
