// The stage: one job from "sending" to its video, or to why there is none.

import { factsLine } from "./playground-files.js";
import { el, slate, span, timeOfDay } from "./playground-kit.js";
import { costWords, elapsed, isLive, placeWords, wordOf, WORDS } from "./playground-phases.js";
import { actionsFor, idRow, jsonBlock, linkRow, viewOf } from "./playground-views.js";

export class Stage {
  #drawn = ""; // which view the screen shows
  #timer = 0;
  #job = null;
  #facted = ""; // which facts it shows

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
    const view = `${job?.key ?? ""} ${wordOf(job)} ${Boolean(job?.record)} ${job?.requestId ?? ""}`;
    if (view !== this.#drawn) {
      this.#drawn = view;
      this.#draw(job);
    }
    this.#tick();
    this.#facts(job, phase);
    this.#timeline(job);
    clearInterval(this.#timer);
    if (job && isLive(phase)) this.#timer = setInterval(() => this.#tick(), 100);
  }

  #draw(job) {
    const hadFocus = this.root.contains(document.activeElement) && document.activeElement !== this.root;
    this.part("screen").replaceChildren(...viewOf(job, this.acts));
    this.part("actions").replaceChildren(...actionsFor(job, this.acts));
    this.#documents(job);
    if (hadFocus && !this.root.contains(document.activeElement)) this.root.focus({ preventScroll: true });
  }

  /** What was sent, and what came of it, as a program sees it. */
  #documents(job) {
    const output = job?.result?.output ?? job?.result?.error ?? job?.record?.error;
    const documents = [
      job?.requestId && job.input && jsonBlock("Input", job.input),
      output !== null && output !== undefined && jsonBlock(job.result?.output ? "Output" : "Error", output),
    ].filter(Boolean);
    this.part("json").hidden = documents.length === 0;
    this.part("documents").replaceChildren(...documents);
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
        el(
          "li",
          { class: `state-${update.state}` },
          el("span", { class: "dot", "aria-hidden": "true" }),
          el("span", { class: "what", text: WORDS[update.state] ?? update.state }),
          el("time", { datetime: update.at, text: timeOfDay(update.at) }),
          el("span", { class: "number offset", text: `+${span(Date.parse(update.at) - start)}` }),
        ),
      ),
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
    if (job?.requestId) {
      list.push(idRow("Request", job.requestId, "the request id"), linkRow(job.requestId));
    }
    if (this.#facted === String(rows) + job?.requestId) return; // what has the focus stays
    this.#facted = String(rows) + job?.requestId;
    this.part("facts").replaceChildren(...list);
  }
}

function piecesOf(job) {
  const { updates } = job;
  const now = Date.parse(updates[0]?.at ?? "") + elapsed(job);
  return updates
    .slice(0, isLive(job.phase) ? undefined : -1)
    .map((update, index) => ({
      state: update.state,
      ms: (updates[index + 1] ? Date.parse(updates[index + 1].at) : now) - Date.parse(update.at),
    }));
}
