// The stage: one job from "sending" to its video, or to why there is none.

import { factsLine } from "./playground-media.js";
import {
  copyButton, credits, el, icon, isMedia, isShowable, prefersStillness, prose, slate, span, timeOfDay,
} from "./playground-kit.js";

const WORDS = {
  accepted: "Waits in the gateway's queue",
  dispatching: "Submitted",
  in_queue: "In the queue",
  in_progress: "Rendering",
  unknown: "Fate unknown for now",
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
export const UNKNOWN = "Fate unknown";
const ENDED = { completed: "done", cancelled: "cancelled", expired: "cancelled" };
const LIVE = { in_queue: "queued", in_progress: "running" };

/** The phase that a state of the record, or a status of the client, amounts to. */
export function phaseOf({ state, status, final }) {
  if (!final && status in LIVE) return LIVE[status];
  return ENDED[state] ?? (status === "cancelled" ? "cancelled" : "failed");
}

export const phaseWord = (phase) => PHASE_WORDS[phase];
/** The same of a job, of which more is known. */
export function wordOf(job) {
  if (job?.error?.code === "outcome_unknown" || (isLive(job?.phase) && job.updates.at(-1)?.state === "unknown")) return UNKNOWN;
  return job?.isStopped ? "Stopped" : PHASE_WORDS[job?.phase ?? "empty"];
}
export const isLive = (phase) => ["sending", "queued", "running"].includes(phase);

export class Stage {
  #drawn = ""; // which view the screen shows
  #timer = 0;
  #job = null;

  /** `root` has the parts by their data-part; `acts` has cancel, stop, again, follow, reuse. */
  constructor(root, acts) {
    this.root = root;
    this.acts = acts;
    this.part = (name) => root.querySelector(`[data-part="${name}"]`);
  }

  get job() {
    return this.#job;
  }

  show(job) {
    this.#job = job;
    const phase = job?.phase ?? "empty";
    this.root.dataset.phase = phase;
    this.part("phase").textContent = wordOf(job);
    const view = `${job?.key ?? ""} ${wordOf(job)} ${Boolean(job?.record)}`;
    if (view !== this.#drawn) {
      this.#drawn = view;
      this.#draw(job, phase);
    }
    this.#tick();
    this.#facts(job, phase);
    this.#timeline(job);
    clearInterval(this.#timer);
    if (job && isLive(phase)) this.#timer = setInterval(() => this.#tick(), 100);
  }

  #draw(job, phase) {
    const hadFocus = this.root.contains(document.activeElement) && document.activeElement !== this.root;
    const views = { done: finished, failed: ended, cancelled: ended, refused: ended };
    const make = job === null ? empty : (views[phase] ?? underWay);
    this.part("screen").replaceChildren(...make(job, phase, this.acts));
    this.part("actions").replaceChildren(...actionsFor(job, phase, this.acts));
    if (hadFocus && !this.root.contains(document.activeElement)) this.root.focus({ preventScroll: true });
  }

  /** What changes by itself: the clock, and the length of the running state. */
  #tick() {
    const job = this.#job;
    if (!job) return;
    const clock = this.part("screen").querySelector(".slate");
    if (clock) clock.textContent = slate(elapsed(job));
    const place = this.part("screen").querySelector(".place");
    if (place) place.textContent = placeWords(job);
    this.#strip(job);
  }

  #strip(job) {
    const pieces = piecesOf(job);
    const strip = this.part("strip");
    strip.hidden = pieces.length === 0;
    while (strip.children.length > pieces.length) strip.lastChild.remove();
    pieces.forEach((piece, index) => {
      const node = strip.children[index] ?? strip.appendChild(el("span"));
      node.className = `piece state-${piece.state}`;
      node.style.flexGrow = Math.max(1, piece.ms);
    });
  }

  #timeline(job) {
    const updates = job?.updates ?? [];
    const start = Date.parse(updates[0]?.at ?? "");
    this.part("timeline").replaceChildren(
      ...updates.map((update) =>
        el("li", { class: `state-${update.state}` },
          el("span", { class: "dot", "aria-hidden": "true" }),
          el("span", { class: "what", text: WORDS[update.state] ?? update.state }),
          el("time", { datetime: update.at, text: timeOfDay(update.at) }),
          el("span", { class: "number offset", text: `+${span(Date.parse(update.at) - start)}` }))),
    );
    this.part("track").hidden = updates.length === 0;
  }

  #facts(job, phase) {
    const rows = [];
    if (job && !isLive(phase) && job.updates.length > 0) rows.push(["Took", span(elapsed(job))]);
    if (job?.price !== null && job?.price !== undefined && job.requestId) rows.push(["Cost", costWords(job)]);
    const seen = job?.record?.media?.find((one) => one.type);
    if (seen) rows.push(["Input file", factsLine(seen)]);
    const list = rows.map(([name, text]) => el("div", {}, el("dt", { text: name }), el("dd", { text })));
    if (job?.requestId) list.push(idRow("Request", job.requestId, "the request id"));
    this.part("facts").replaceChildren(...list);
  }
}

function idRow(name, id, what) {
  return el("div", { class: "id" }, el("dt", { text: name }),
    el("dd", {}, el("code", { text: id }), copyButton(() => id, { bare: true, what })));
}

/** Milliseconds since the submit, until now or until it was over; by the server's clock where it can be. */
export function elapsed(job) {
  const { updates } = job;
  if (updates.length === 0) return Date.now() - job.began;
  const first = Date.parse(updates[0].at);
  const last = Date.parse(updates.at(-1).at);
  return isLive(job.phase) ? Math.max(Date.now() - job.began, last - first) : last - first;
}

function piecesOf(job) {
  const { updates } = job;
  const now = Date.parse(updates[0]?.at ?? "") + elapsed(job);
  return updates.slice(0, isLive(job.phase) ? undefined : -1).map((update, index) => ({
    state: update.state,
    ms: (updates[index + 1] ? Date.parse(updates[index + 1].at) : now) - Date.parse(update.at),
  }));
}

function placeWords(job) {
  if (job.phase === "sending") return "The gateway checks it, holds its price and sends it on.";
  if (job.updates.at(-1)?.state === "unknown") return "Its answer was lost. The gateway finds out what became of it.";
  if (job.phase === "running") return "It is being made, and can no longer be cancelled.";
  const place = job.queuePosition;
  if (place === null || place === undefined) return "It waits for its turn.";
  return place === 0 ? "It is the next to start." : `${place} ${place === 1 ? "job is" : "jobs are"} before it.`;
}

/** What became of the price, in plain words. */
export function costWords(job) {
  const price = credits(job.price);
  const words = { held: "held until it is over", settled: "spent", refunded: "given back" };
  const charge = job.record?.charge ?? (isLive(job.phase) ? "held" : null);
  return job.price === 0 || charge === null ? price : `${price}, ${words[charge] ?? charge}`;
}

// --- what the screen shows

const pictureOf = (job) => Object.values(job.input ?? {}).flat().find((one) => isShowable(one) && !/\.(mp4|webm|mov|wav|mp3|ogg)$/i.test(one));

function empty() {
  return [el("div", { class: "view empty" }, icon("reel"),
    el("p", { class: "lead", text: "Your result plays here." }),
    el("p", { text: "Press the button, and watch it all the way through the queue." }))];
}

function underWay(job) {
  const picture = pictureOf(job);
  return [el("div", { class: "view under-way" },
    picture && el("img", { class: "backdrop", src: picture, alt: "" }),
    el("div", { class: "overlay" },
      el("p", { class: "lead", text: wordOf(job) }),
      el("p", { class: "slate number", "aria-hidden": "true" }),
      el("p", { class: "place" })))];
}

function finished(job) {
  const output = job.result?.output ?? {};
  const picture = pictureOf(job);
  const files = filesOf(output);
  const prompt = job.input?.prompt ?? job.input?.text;
  return [el("div", { class: `view finished${picture ? " pair" : ""}` },
    el("div", { class: "results" }, ...files.map((file) => player(file)),
      files.length === 0 && el("pre", { tabindex: 0, text: JSON.stringify(output, null, 2) })),
    picture && el("figure", { class: "source" }, el("img", { src: picture, alt: "The picture that it was made from" }),
      el("figcaption", { text: typeof prompt === "string" ? `“${prompt}”` : "The picture" })))];
}

/** Every file of an output, and what it is by the name that it stands under, or by its own. */
export function filesOf(output) {
  return Object.entries(output ?? {}).flatMap(([name, value]) =>
    [value].flat().filter((one) => isMedia(one?.url ?? one)).map((one) => {
      const url = one?.url ?? one;
      const said = /video|image|audio/.exec(name)?.[0];
      const kind = said ?? (/\.(mp4|webm|mov)\b/i.test(url) ? "video" : /\.(wav|mp3|ogg)\b/i.test(url) ? "audio" : "image");
      return { url, kind };
    }));
}

function player({ url, kind }) {
  if (kind === "image") return el("img", { src: url, alt: "The picture that was made" });
  const still = prefersStillness();
  const media = el(kind, { src: url, controls: true, muted: kind === "video", loop: kind === "video", playsinline: true,
    autoplay: kind === "video" && !still, "aria-label": kind === "video" ? "The video that was made" : "The sound that was made" });
  media.addEventListener("error", () => media.replaceWith(el("p", { text: "The file cannot be played here; open it instead." })));
  return media;
}

function ended(job, phase) {
  const { error } = job;
  const titles = { failed: "It failed", cancelled: "Cancelled", refused: error?.title ?? "It was not accepted" };
  const about = whyOf(job, phase);
  const trace = error?.traceId ?? job.record?.trace_id;
  const list = (error?.errors ?? []).map((one) => el("li", {}, el("code", { text: one.pointer }), ` ${one.detail}`));
  return [el("div", { class: `view ended ${phase}` }, icon(phase === "cancelled" ? "stop" : "alert"),
    el("p", { class: "lead", text: titles[phase] }),
    about && el("p", {}, ...prose(about)),
    list.length > 0 && el("ul", {}, ...list),
    phase === "refused" && error?.remedy && el("p", { class: "remedy" }, el("strong", { text: "What to do: " }), ...prose(error.remedy)),
    el("dl", { class: "ids" },
      phase === "refused" && error?.code && el("div", {}, el("dt", { text: "Code" }),
        el("dd", {}, el("code", { text: [error.code, error.status].filter(Boolean).join(" · ") }))),
      trace && idRow("Trace", trace, "the trace id")))];
}

function whyOf(job, phase) {
  if (phase === "refused") return job.error?.detail ?? job.error?.message ?? "";
  const state = job.updates.at(-1)?.state;
  if (state === "expired") return "It had not started by its deadline.";
  if (phase === "cancelled") return "It was taken out of the queue before it started.";
  const error = job.result?.error ?? job.record?.error ?? job.error?.detail ?? "RunComfy gave no reason.";
  return typeof error === "string" ? error : (error.message ?? JSON.stringify(error));
}

// --- what can be done

const button = (word, name, act, kind = "ghost") =>
  el("button", { type: "button", class: `button ${kind}`, onclick: act }, icon(name), el("span", { text: word }));

function actionsFor(job, phase, acts) {
  if (!job) return [];
  if (phase === "sending") return [button("Stop asking", "close", () => acts.stop(job))];
  if (phase === "queued") return [button("Cancel", "stop", (event) => acts.cancel(job, event.currentTarget))];
  if (phase === "done") {
    const [file] = filesOf(job.result?.output);
    return [
      file && el("a", { class: "button ghost", href: file.url, target: "_blank", rel: "noopener noreferrer" }, icon("open"),
        el("span", { text: "Open the file" }), el("span", { class: "sr-only", text: " in a new tab" })),
      file && copyButton(() => file.url, { label: "Copy its address" }),
      button("Use these inputs", "again", () => acts.reuse(job)),
    ].filter(Boolean);
  }
  if (phase === "refused") return refusedActions(job, acts);
  return phase in PHASE_WORDS && !isLive(phase) ? [button("Use these inputs", "again", () => acts.reuse(job))] : [];
}

function refusedActions(job, acts) {
  const { error } = job;
  const id = error?.code === "outcome_unknown" ? error.requestId : job.requestId;
  if (id) return [button("Follow it", "again", () => acts.follow(id), "solid")];
  if (!error?.retryable) return [];
  const again = button("Try again", "again", () => acts.again(job), "solid");
  if (error.retryAfter > 0) countDown(again, error.retryAfter);
  return [again];
}

/** Keeps a button shut for so many seconds, and says how many are left. */
function countDown(shut, seconds) {
  const word = shut.querySelector("span");
  const ready = Date.now() + seconds * 1000;
  const label = word.textContent;
  shut.disabled = true;
  const step = () => {
    const left = Math.ceil((ready - Date.now()) / 1000);
    shut.disabled = left > 0;
    word.textContent = left > 0 ? `${label} in ${span(left * 1000).replace(".0", "")}` : label;
    if (left > 0) setTimeout(step, 500);
  };
  step();
}
