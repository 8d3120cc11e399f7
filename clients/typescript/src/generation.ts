import type { Reelgate } from "./client.js";
import { ReelgateError } from "./errors.js";
import type { Result, Update } from "./types.js";

/** What a page knows of one generation. */
export interface GenerationState<Output = any> {
  /** `idle` before a run, `ended` after it: with an `output` or an `error`. */
  phase: "idle" | "submitting" | "running" | "ended";
  /** Known before anything is waited for. */
  requestId?: string;
  /** The newest change: its status, and its place in the queue. */
  update?: Update;
  result?: Result<Output>;
  output?: Output;
  /** Mostly a {@link ReelgateError}, whose `message` can be shown. */
  error?: unknown;
}

/** What is kept for a page that is loaded again: the request, or the key under which it was being submitted. */
interface Kept {
  requestId?: string;
  idempotencyKey?: string;
  at?: string;
}

const IDLE: GenerationState = { phase: "idle" };
const ARRIVAL_MS = 5000; // within which a submit arrives whose page was left

/** One generation of a page, outside React: it is told what happens, and tells its subscribers. */
export class Generation {
  #state: GenerationState = IDLE;
  #subscribers = new Set<() => void>();
  #run?: Promise<Result | undefined>;
  #turn = { isCancelled: false }; // what comes of an earlier one is told to nobody
  #isFinding = false; // the request of a page that was left before it knew the id
  #here = new AbortController(); // ends the following with the component, and not the job

  constructor(
    readonly gate: Reelgate<any>,
    readonly model: string,
    readonly resume: string | undefined,
  ) {}

  readonly snapshot = (): GenerationState => this.#state;
  readonly snapshotOfServer = (): GenerationState => IDLE;
  readonly subscribe = (subscriber: () => void): (() => void) => {
    this.#subscribers.add(subscriber);
    return () => this.#subscribers.delete(subscriber);
  };

  /** A component is here: goes on with what was under way. When it leaves, the following ends, and never the job. */
  readonly enter = (): (() => void) => {
    const { phase, requestId } = this.#state;
    const kept = this.#kept();
    if (this.#here.signal.aborted) this.#here = new AbortController();
    if (phase === "running" && requestId) this.#begin(() => this.#follow(requestId));
    else if (phase === "idle" && kept) this.#begin(() => this.#resumed(kept));
    return () => {
      this.#here.abort(new Error("The component has gone."));
      if (this.#isFinding) this.#set(IDLE); // and the next to enter begins anew
    };
  };

  /** Submits, and follows. While a run is under way, this is that run: a second press of a button makes no second job. */
  readonly run = (input: object): Promise<Result | undefined> => {
    const isFree = this.#state.phase === "idle" || this.#state.phase === "ended";
    if (!isFree && this.#run) return this.#run;
    const idempotencyKey = crypto.getRandomValues(new Uint32Array(4)).join("-");
    this.#keep({ idempotencyKey, at: new Date().toISOString() });
    this.#set({ phase: "submitting" });
    return this.#begin(async (turn) => {
      // Whoever leaves now wants the job all the same: the submit is not given up.
      const submitting = this.gate.submit(this.model, input, { idempotencyKey });
      const { request_id } = await submitting.catch((error) => this.#refused(error));
      if (turn === this.#turn) {
        this.#keep({ requestId: request_id });
        this.#set({ phase: "running", requestId: request_id });
      }
      if (turn.isCancelled) await this.gate.cancel(request_id);
      return this.#follow(request_id);
    });
  };

  /** Cancels the job, if it has not started; what becomes of it is told by the state. */
  readonly cancel = async (): Promise<void> => {
    const { phase, requestId } = this.#state;
    this.#turn.isCancelled = phase === "submitting";
    if (phase === "running" && requestId) await this.gate.cancel(requestId);
  };

  /** Forgets the generation. A job that is under way goes on unseen. */
  readonly reset = (): void => {
    this.#here.abort(new Error("The page has forgotten it."));
    this.#here = new AbortController();
    this.#turn = { isCancelled: false };
    this.#run = undefined;
    this.#keep();
    this.#set(IDLE);
  };

  #begin(work: (turn: { isCancelled: boolean }) => Promise<Result>): Promise<Result | undefined> {
    const turn = (this.#turn = { isCancelled: false });
    const end = (more: Partial<GenerationState>) => {
      if (turn === this.#turn && !this.#here.signal.aborted) this.#set({ ...this.#state, ...more, phase: "ended" });
    };
    this.#run = work(turn).then(
      (result) => {
        end({ result, output: result.output });
        return result;
      },
      (error) => {
        end({ error, result: error instanceof ReelgateError ? error.result : undefined });
        return undefined;
      },
    );
    return this.#run;
  }

  #follow(requestId: string): Promise<Result> {
    const turn = this.#turn;
    const onUpdate = (update: Update) => turn === this.#turn && this.#set({ ...this.#state, update });
    return this.gate.follow(requestId, { signal: this.#here.signal, onUpdate });
  }

  async #resumed({ requestId, idempotencyKey = "", at }: Kept): Promise<Result> {
    this.#set({ phase: requestId ? "running" : "submitting", requestId });
    this.#isFinding = !requestId;
    const id = requestId ?? (await this.#submitted(idempotencyKey, at, this.#here.signal));
    this.#isFinding = false;
    this.#keep({ requestId: id });
    this.#set({ phase: "running", requestId: id });
    return this.#follow(id).catch((error) => {
      if (error instanceof ReelgateError && error.status === 404) this.#keep(); // of another user, or erased
      throw error;
    });
  }

  /** The request that was made under the key, of a page that was left before it knew. */
  async #submitted(idempotencyKey: string, created_after: string | undefined, signal: AbortSignal): Promise<string> {
    for (const pause of [0, ARRIVAL_MS]) {
      await new Promise((resolve) => setTimeout(resolve, pause));
      const { requests } = await this.gate.requests({ model_id: this.model, limit: 20 }, { signal });
      for (const { request_id, created_at } of requests) {
        if (created_after && Date.parse(created_at) < Date.parse(created_after) - 300_000) continue; // clocks differ
        const { idempotency_key } = await this.gate.request(request_id, { signal });
        if (idempotency_key === idempotencyKey) return request_id;
      }
    }
    this.#keep();
    this.#isFinding = false;
    const title = "The page was left before the request had arrived: there is no job.";
    throw new ReelgateError({ code: "not_submitted", title, retryable: true });
  }

  /** After `outcome_unknown` there may be a job, which is followed. Any other refusal leaves nothing to go on with. */
  #refused(error: unknown): { request_id: string } {
    if (error instanceof ReelgateError && error.code === "outcome_unknown" && error.requestId)
      return { request_id: error.requestId };
    const isOpen = error instanceof ReelgateError && error.code === "unreachable"; // it may have arrived
    if (!isOpen) this.#keep();
    throw error;
  }

  #set(state: GenerationState): void {
    this.#state = state;
    for (const tell of this.#subscribers) tell();
  }

  #kept(): Kept | undefined {
    try {
      return JSON.parse(this.#storage?.getItem(this.#name) ?? "null") ?? undefined;
    } catch {
      return undefined;
    }
  }

  #keep(kept?: Kept): void {
    try {
      if (kept) this.#storage?.setItem(this.#name, JSON.stringify(kept));
      else this.#storage?.removeItem(this.#name);
    } catch {
      // A browser that keeps nothing for this page: then nothing is resumed.
    }
  }

  get #storage(): Storage | undefined {
    return this.resume === undefined ? undefined : globalThis.sessionStorage;
  }

  get #name(): string {
    return `reelgate ${this.resume}`;
  }
}
