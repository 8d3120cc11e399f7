import type { StatusWord, Update } from "./types.js";

const STATUS: Record<string, StatusWord> = {
  accepted: "in_queue",
  dispatching: "in_queue",
  in_queue: "in_queue",
  in_progress: "in_progress",
  unknown: "in_progress",
  cancelled: "cancelled",
  expired: "cancelled",
}; // of any other state: completed

/** What a stream or a record says of a request. */
export type Change = Record<string, any>;

/** One who follows a job: what is known of it, and what is still to be passed on. */
export class Follower {
  tag: string | null = '"none"'; // of the status that was polled last
  last: Update;
  #due: Update[] = [];
  #ring = () => {};
  #failure?: { error: unknown };
  #wake = () => this.#ring();

  constructor(
    readonly id: string,
    readonly signal?: AbortSignal,
  ) {
    this.last = submitted(id);
    signal?.addEventListener("abort", this.#wake);
  }

  leave(): void {
    this.signal?.removeEventListener("abort", this.#wake);
  }

  /** Takes a change, if it is of this job; returns whether it is news. */
  take(change: Change): boolean {
    const next = change.request_id === this.id ? merged(this.last, change) : this.last;
    if (next === this.last) return false;
    this.#due.push((this.last = next));
    this.#ring();
    return true;
  }

  fail(error: unknown): void {
    this.#failure = { error };
    this.#ring();
  }

  async *updates(): AsyncGenerator<Update, void, void> {
    for (;;) {
      this.signal?.throwIfAborted();
      const next = this.#due.shift();
      if (next) yield next;
      else if (this.last.final) return;
      else if (this.#failure) throw this.#failure.error;
      else await new Promise<void>((resolve) => (this.#ring = resolve));
    }
  }
}

/** The first update: there is a job, and no more is known. */
export function submitted(requestId: string): Update {
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

/** The changes that a record of a request tells. */
export function changesIn(requestId: string, { events, queue_position }: Change): Change[] {
  const told = events.map((event: Change) => ({
    request_id: requestId,
    status: STATUS[event.state] ?? "completed",
    ...event,
  }));
  return [...told, { request_id: requestId, queue_position }];
}

/** `last` with what is new in a change; `last` itself where nothing is. */
function merged(last: Update, { version, status, state, at, queue_position: place }: Change): Update {
  if (version > last.version) {
    const queuePosition = status === "in_queue" ? last.queuePosition : null;
    const final = status === "completed" || status === "cancelled";
    return { ...last, version, status, state, at, queuePosition, final };
  }
  return place == null || place === last.queuePosition ? last : { ...last, queuePosition: place };
}
