import { path, search, type Connection } from "./connection.js";
import { lost, ReelgateError } from "./errors.js";
import { changesIn, Follower, type Change } from "./follower.js";
import { FOLLOW, passed, Patience, watched } from "./patience.js";
import { Place } from "./place.js";
import type { Update } from "./types.js";

const POLLS = 10; // before a stream that could not be had is tried again
const MOST = 50; // requests in one stream
const TURN_MS = 20_000; // for which others wait where there are more

/** Follows any number of requests over one connection at a time: browsers have six for a gateway, and calls need some. */
export class Watch {
  #connection;
  #followers = new Set<Follower>();
  #round = new AbortController(); // of the one connection that serves all of them
  #isWatching = false;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Every change of a job, once and in order, to the last one. */
  async *updates(id: string, signal?: AbortSignal): AsyncGenerator<Update, void, void> {
    signal?.throwIfAborted();
    const follower = new Follower(id, signal);
    this.#followers.add(follower);
    this.#round.abort(); // the next one serves this follower too
    if (!this.#isWatching) this.#watch();
    try {
      yield* follower.updates();
    } finally {
      follower.leave();
      this.#followers.delete(follower);
      if (!this.#followers.size) this.#round.abort();
    }
  }

  async #watch(): Promise<void> {
    this.#isWatching = true;
    const place = new Place(this.#connection.base, () => this.#round.abort());
    const live = () => [...this.#followers].filter(({ last }) => !last.final);
    const patience = new Patience(undefined, FOLLOW);
    let polls = 0; // to do before the next stream
    let mute = 0; // streams in a row that told nothing
    while (live().length) {
      await place.take();
      const mayHold = place.isMine;
      const round = (this.#round = new AbortController());
      const { signal } = round;
      const served = live().slice(0, MOST);
      const hasMore = this.#followers.size > MOST;
      const turn = hasMore ? setTimeout(() => round.abort(), TURN_MS) : undefined;
      const began = Date.now();
      let isNew = false;
      patience.signal = signal;
      let failure: any = null; // what getToken throws can be anything
      try {
        if (served.length > 1) await passed(50, signal); // more may be about to follow
        signal.throwIfAborted();
        const changes = mayHold && !polls ? this.#stream(served, signal) : this.#poll(served, signal, mayHold);
        for await (const change of changes) {
          patience.spent = 0;
          for (const one of served) isNew = one.take(change) || isNew;
        }
      } catch (error) {
        failure = error;
      }
      clearTimeout(turn);
      for (const one of hasMore ? served : []) {
        if (this.#followers.delete(one)) this.#followers.add(one); // behind the others
      }
      if (signal.aborted || !live().length) continue;
      if (isNew || Date.now() - began > 5000) patience.failures = 0;
      if (polls) polls -= 1;
      else if (failure?.code === "too_many_streams") [polls, failure] = [POLLS, null];
      else if (isNew) mute = 0;
      else if (mayHold && ++mute > 1) polls = POLLS;
      try {
        await patience.after(failure);
      } catch (error: any) {
        const meant = served.filter(({ id }) => id === error?.requestId);
        for (const one of meant.length ? meant : live()) {
          this.#followers.delete(one);
          one.fail(error);
        }
      }
    }
    place.leave();
    this.#isWatching = false;
  }

  /** What a stream says of those whom it serves; an empty change is a sign of life. */
  async *#stream(served: Follower[], signal: AbortSignal): AsyncGenerator<Change> {
    const watch = watched(signal);
    try {
      const { id, last } = served[0]!;
      const isAlone = served.length === 1;
      const ids = String([...new Set(served.map((one) => one.id))]);
      const place = isAlone ? path`requests/${id}/events` : path`requests/events` + search({ ids });
      const headers: HeadersInit = isAlone && last.version ? { "Last-Event-ID": String(last.version) } : {};
      const { body } = await this.#connection.answer(place, { headers }, watch.signal);
      const reader = body?.getReader();
      const decoder = new TextDecoder();
      let text = "";
      while (reader) {
        const { done, value } = await reader.read().catch(lost);
        if (done) return;
        watch.alive();
        yield {};
        const messages = (text + decoder.decode(value, { stream: true })).split(/\r?\n\r?\n/);
        text = messages.pop() ?? "";
        for (const message of messages) {
          const data = /^data: ?(.*)$/m.exec(message);
          if (data) yield { ...(isAlone && { request_id: id }), ...JSON.parse(data[1]!) };
        }
      }
    } finally {
      watch.end();
    }
  }

  /** The same by one call after another: the record of each, once the status is not the tag's. */
  async *#poll(served: Follower[], signal: AbortSignal, mayHold: boolean): AsyncGenerator<Change> {
    const tagOf = async (answer: Response) => answer.headers.get("ETag");
    for (const one of served) {
      const headers: Record<string, string> = { "If-None-Match": one.tag! };
      if (mayHold && served.length === 1) headers.Prefer = "wait=25";
      const call = { headers, signal };
      const found = await this.#connection.once(path`requests/${one.id}/status`, call, tagOf).catch((error) => {
        if (error instanceof ReelgateError && error.status === 404)
          Object.assign(error, { requestId: error.requestId ?? one.id });
        throw error;
      });
      yield {};
      if (found === one.tag) continue;
      const record = await this.#connection.once(path`requests/${one.id}`, { signal });
      one.tag = found;
      yield* changesIn(one.id, record);
    }
  }
}
