// Jobs over time: one on the stage, followed to its end; the session's others in the list below it.

import { isUnfinished, remember, showHistory } from "./playground-history.js";
import { announce, goTo, randomKey } from "./playground-kit.js";
import { isLive, phaseOf, wordOf } from "./playground-phases.js";
import { Stage } from "./playground-stage.js";
import { filesOf } from "./playground-views.js";

const LAST = "reelgate-playground-job"; // what a reload of this tab brings back

/** A job that nothing is known of yet but what is to be sent. */
export const newJob = (members) => ({
  key: randomKey(),
  phase: "sending",
  updates: [],
  began: Date.now(),
  queuePosition: null,
  requestId: null,
  price: null,
  result: null,
  record: null,
  error: null,
  ...members,
});

/** The job that a link within this page leads to. */
export const jobIn = (hash) => /^#job=([\w-]+)$/.exec(hash)?.[1] ?? null;

export class Jobs {
  made = []; // the files that jobs of this page made: { url, kind }
  /** @type {import("./client.js").Reelgate} */
  #client;
  #hooks;
  #stage;
  #list;
  /** @type {AbortController | null} */
  #watching = null; // of the job on the stage
  #timer = 0;

  /** `hooks`: moved(job), ended(job), correct(job), again(job), reuse(job), nameOf(modelId). */
  constructor(client, { stage, list }, hooks) {
    this.#client = client;
    this.#hooks = hooks;
    this.#list = list;
    this.#stage = new Stage(stage, {
      ...hooks,
      cancel: (job, button) => this.#cancel(job, button),
      stop: (job) => this.#stop(job),
      follow: (requestId) => this.open(requestId),
    });
    this.show(null);
  }

  get current() {
    return this.#stage.job;
  }

  /** Shows a job, and says its phase to whoever does not look. */
  show(job, { silently = false } = {}) {
    const before = this.#stage.job;
    this.#stage.show(job);
    if (silently) return;
    const word = wordOf(job);
    document.title = job ? `${word} · Reelgate Playground` : "Reelgate Playground";
    if (!job) return;
    const ahead = job.phase === "queued" && job.queuePosition ? `, ${job.queuePosition} before it` : "";
    const why = job.phase === "refused" || job.phase === "failed" ? (job.error?.detail ?? "") : "";
    announce(isLive(job.phase) ? `${word}${ahead}` : `${word}. ${why}`.trim());
    if (job.phase === "refused" && before === job) goTo(this.#stage.root);
  }

  /** Shows the job and follows it to its end; `begin` starts that, with a client's options. */
  async run(job, begin, { visit = true } = {}) {
    const before = this.current;
    this.#watching?.abort();
    const controller = (this.#watching = job.controller = new AbortController());
    const isCurrent = () => this.#watching === controller;
    this.show(job);
    if (visit) goTo(this.#stage.root);
    try {
      job.result = await begin({
        signal: controller.signal,
        onUpdate: (update) => isCurrent() && this.#take(job, update),
      });
      job.phase = "done";
    } catch (error) {
      if (!isCurrent()) return; // another job took the stage; the gateway follows this one all the same
      job.error = job.isStopped ? STOPPED : error;
      job.result = error.result ?? null;
      if (error.requestId) remember(error.requestId, job.input);
      else if (this.#hooks.correct(job)) return this.#return(before);
      job.phase = { job_failed: "failed", job_cancelled: "cancelled" }[error.code] ?? "refused";
    }
    if (job.requestId) job.record = await this.#client.request(job.requestId).catch(() => null);
    if (!isCurrent()) return;
    this.#learn(job, job.record?.events ?? []);
    this.#keep(job);
    this.show(job);
    this.#hooks.ended(job);
    this.refresh();
  }

  /** Shows again what was there before a submit that came to nothing. */
  #return(job) {
    this.#watching = null;
    if (job && isLive(job.phase) && job.requestId) this.open(job.requestId, { quietly: true });
    else this.show(job, { silently: true });
  }

  #take(job, update) {
    if (!job.requestId) {
      job.requestId = update.requestId;
      remember(update.requestId, job.input);
      this.#keepPlace(update.requestId);
      this.refresh();
    }
    if (update.state && update.at) this.#learn(job, [update]);
    job.queuePosition = update.queuePosition;
    if (!update.final) job.phase = phaseOf(update);
    this.show(job);
    this.#hooks.moved(job);
  }

  #learn(job, events) {
    const isNew = (event) => !job.updates.some(({ version }) => version === event.version);
    job.updates = [...job.updates, ...events.filter(isNew)].sort((one, other) => one.version - other.version);
  }

  #keep(job) {
    const known = new Set(this.made.map(({ url }) => url));
    this.made.unshift(...filesOf(job.result?.output).filter(({ url }) => !known.has(url)));
  }

  /** Shows a job that exists, and follows it where it is not over. `quietly`: after a reload. */
  async open(requestId, { quietly = false } = {}) {
    let record;
    try {
      record = await this.#client.request(requestId);
    } catch (error) {
      sessionStorage.removeItem(LAST);
      if (quietly) await this.refresh();
      else this.#showMissing(requestId, error);
      return;
    }
    const job = newJob({
      key: requestId,
      requestId,
      model: record.model_id,
      input: record.input,
      updates: record.events,
      began: Date.parse(record.created_at),
      price: record.price_microcredits,
      queuePosition: record.queue_position,
      result: record.output ? { output: record.output } : null,
      phase: phaseOf({ state: record.state, status: record.status, final: record.finished_at !== null }),
    });
    this.#keepPlace(requestId);
    if (isLive(job.phase)) {
      this.run(job, (options) => this.#client.follow(requestId, options), { visit: !quietly });
    } else {
      this.#watching?.abort();
      this.#watching = null;
      job.record = record;
      this.#keep(job);
      this.show(job);
      if (!quietly) goTo(this.#stage.root);
    }
    this.refresh();
  }

  /** Where a reload and the address of the page lead: to the job on the stage. */
  #keepPlace(requestId) {
    sessionStorage.setItem(LAST, requestId);
    history.replaceState(null, "", `#job=${requestId}`);
  }

  /** Says why a job that a link leads to cannot be shown. */
  #showMissing(requestId, error) {
    this.#watching?.abort();
    this.#watching = null;
    const title = "This job cannot be shown here.";
    const detail = `This browser has made no job ${requestId}.`;
    if (error.code === "request_not_found") Object.assign(error, { title, detail });
    this.show(newJob({ key: requestId, phase: "refused", error }));
    this.refresh();
  }

  async #cancel(job, button) {
    if (button.ariaDisabled === "true") return; // not `disabled`: that would take the focus away
    button.ariaDisabled = "true";
    try {
      const { outcome } = await this.#client.cancel(job.requestId);
      if (outcome !== "cancelled") announce("It can no longer be cancelled.");
    } catch (error) {
      announce(error.detail ?? error.message);
    }
    button.ariaDisabled = "false";
  }

  #stop(job) {
    job.isStopped = true;
    job.controller.abort();
  }

  /** Asks for the list anew; again in a while, where jobs are under way that nobody watches. */
  async refresh() {
    clearTimeout(this.#timer);
    let requests;
    try {
      ({ requests } = await this.#client.requests({ limit: 10 }));
    } catch {
      return; // the next change asks again
    }
    const current = this.current?.requestId;
    const open = (requestId) => this.open(requestId);
    showHistory(this.#list, requests, { current, nameOf: this.#hooks.nameOf, open });
    const hasOthers = requests.some((one) => isUnfinished(one) && one.request_id !== current);
    clearTimeout(this.#timer);
    if (hasOthers) this.#timer = setTimeout(() => this.refresh(), 4000);
  }

  /** What the tab showed before it was reloaded. */
  async restore() {
    const last = jobIn(location.hash) ?? sessionStorage.getItem(LAST);
    if (last) await this.open(last, { quietly: last === sessionStorage.getItem(LAST) });
    else await this.refresh();
  }
}

const STOPPED = {
  title: "Stopped",
  detail:
    "The page no longer waits for an answer. A job may have been made all the same: see the list below.",
};
