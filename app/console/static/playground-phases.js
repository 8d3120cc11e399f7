// What a job is at, in words: the phases that the page knows, and the states that the gateway keeps.

import { credits } from "./playground-kit.js";

export const WORDS = {
  accepted: "Queued in the gateway",
  dispatching: "Submitted",
  in_queue: "In the queue",
  in_progress: "Rendering",
  unknown: "Outcome unknown for now",
  completed: "Done",
  failed: "Failed",
  cancelled: "Cancelled",
  rejected: "Refused by RunComfy",
  expired: "Start deadline passed",
  lost: "Lost",
};
const PHASE_WORDS = {
  empty: "Nothing yet",
  sending: "Sending",
  queued: "Queued",
  running: "Rendering",
  done: "Done",
  failed: "Failed",
  cancelled: "Cancelled",
  refused: "Not accepted",
};
export const UNKNOWN = "Outcome unknown";
const ENDED = { completed: "done", cancelled: "cancelled", expired: "cancelled" };
const LONG_MS = 4000; // of a submit: it is refused for now, or the gateway cannot be reached
const LIVE = { in_queue: "queued", in_progress: "running" };

/** The phase that a state of the record, or a status of the client, amounts to. */
export function phaseOf({ state, status, final }) {
  if (!final && status in LIVE) return LIVE[status];
  return ENDED[state] ?? (status === "cancelled" ? "cancelled" : "failed");
}

export const phaseWord = (phase) => PHASE_WORDS[phase];
/** The same of a job, of which more is known. */
export function wordOf(job) {
  const isLost = isLive(job?.phase) && job.updates.at(-1)?.state === "unknown";
  if (isLost || job?.error?.code === "outcome_unknown") return UNKNOWN;
  if (job?.error?.code === "unreachable") return "No answer";
  if (job?.error?.code === "request_not_found") return "Not found";
  return job?.isStopped ? "Stopped" : PHASE_WORDS[job?.phase ?? "empty"];
}
export const isLive = (phase) => ["sending", "queued", "running"].includes(phase);

/** Milliseconds since the submit, until now or until it was over; by the server's clock where it can be. */
export function elapsed(job) {
  const { updates } = job;
  if (updates.length === 0) return Date.now() - job.began;
  const first = Date.parse(updates[0].at);
  const last = Date.parse(updates.at(-1).at);
  return isLive(job.phase) ? Math.max(Date.now() - job.began, last - first) : last - first;
}

/** What a live job waits for. */
export function placeWords(job) {
  if (job.phase === "sending") {
    return elapsed(job) < LONG_MS
      ? "The gateway checks it, holds its price and sends it on."
      : "Not accepted yet. The page tries again, with the same Idempotency-Key, while that can help.";
  }
  if (job.updates.at(-1)?.state === "unknown")
    return "Its answer was lost. The gateway finds out what became of it.";
  if (job.phase === "running") return "It is being made, and can no longer be cancelled.";
  const place = job.queuePosition;
  if (place === null || place === undefined) return "It is queued.";
  return place === 0
    ? "It is the next to start."
    : `${place} ${place === 1 ? "job is" : "jobs are"} before it.`;
}

/** What became of the price, in plain words. */
export function costWords(job) {
  const price = credits(job.record?.price_microcredits ?? job.price);
  const words = { held: "held until it ends", settled: "spent", refunded: "refunded" };
  const charge = job.record?.charge ?? (isLive(job.phase) ? "held" : null);
  return job.price === 0 || charge === null ? price : `${price}, ${words[charge] ?? charge}`;
}
