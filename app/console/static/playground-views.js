// What the stage's screen shows in each phase, and what can be done there.

import { adviceOn, faultWords } from "./playground-advice.js";
import {
  announce,
  copyButton,
  el,
  icon,
  isMedia,
  isShowable,
  prefersStillness,
  prose,
  span,
} from "./playground-kit.js";
import { isLive, placeWords, wordOf } from "./playground-phases.js";

/** An id, to copy. */
export function idRow(name, id, what) {
  return el(
    "div",
    { class: "id" },
    el("dt", { text: name }),
    el(
      "dd",
      {},
      el("code", { text: id }),
      copyButton(() => id, { bare: true, what }),
    ),
  );
}

/** What the screen shows of a job; null: there is none yet. */
export function viewOf(job, acts) {
  const views = { done: finished, failed: ended, cancelled: ended, refused: ended };
  return job === null ? empty() : (views[job.phase] ?? underWay)(job, acts);
}

const NO_PICTURE = /^data:(audio|video)|\.(mp4|webm|mov|wav|mp3|ogg)$/i;
const pictureOf = (job) =>
  Object.values(job.input ?? {})
    .flat()
    .find((one) => isShowable(one) && !NO_PICTURE.test(one));

function empty() {
  return [
    el(
      "div",
      { class: "view empty" },
      icon("reel"),
      el("p", { class: "lead", text: "Your result plays here." }),
      el("p", { text: "Press the button, and watch it all the way through the queue." }),
    ),
  ];
}

function underWay(job) {
  const picture = pictureOf(job);
  return [
    el(
      "div",
      { class: "view under-way" },
      picture && el("img", { class: "backdrop", src: picture, alt: "" }),
      el(
        "div",
        { class: "overlay" },
        el("p", { class: "lead", text: wordOf(job) }),
        el("p", { class: "slate number", "aria-hidden": "true" }),
        el("p", { class: "place" }),
      ),
    ),
  ];
}

function finished(job) {
  const output = job.result?.output ?? {};
  const picture = pictureOf(job);
  const files = filesOf(output);
  const prompt = job.input?.prompt ?? job.input?.text;
  return [
    el(
      "div",
      { class: `view finished${picture ? " pair" : ""}` },
      el(
        "div",
        { class: "results" },
        ...files.map((file) => player(file)),
        files.length === 0 && el("pre", { tabindex: 0, text: JSON.stringify(output, null, 2) }),
      ),
      picture &&
        el(
          "figure",
          { class: "source" },
          el("img", { src: picture, alt: "The picture that it was made from" }),
          el("figcaption", { text: typeof prompt === "string" ? `“${prompt}”` : "The picture" }),
        ),
    ),
  ];
}

/** Every file of an output, and what it is by the name that it stands under, or by its own. */
export function filesOf(output) {
  return Object.entries(output ?? {}).flatMap(([name, value]) =>
    [value]
      .flat()
      .filter((one) => isMedia(one?.url ?? one))
      .map((one) => {
        const url = one?.url ?? one;
        const said = /video|image|audio/.exec(name)?.[0];
        const kind =
          said ??
          (/\.(mp4|webm|mov)\b/i.test(url) ? "video" : /\.(wav|mp3|ogg)\b/i.test(url) ? "audio" : "image");
        return { url, kind };
      }),
  );
}

function player({ url, kind }) {
  if (kind === "image") return el("img", { src: url, alt: "The picture that was made" });
  const still = prefersStillness();
  const media = el(kind, {
    src: url,
    controls: true,
    muted: kind === "video",
    loop: kind === "video",
    playsinline: true,
    autoplay: kind === "video" && !still,
    "aria-label": kind === "video" ? "The video that was made" : "The sound that was made",
  });
  media.addEventListener("error", () =>
    media.replaceWith(el("p", { text: "The file cannot be played here; open it instead." })),
  );
  return media;
}

function ended(job) {
  const { error, phase } = job;
  const titles = {
    failed: "It failed",
    cancelled: "Cancelled",
    refused: error?.title ?? "It was not accepted",
  };
  const about = whyOf(job);
  const upstream = error?.problem?.upstream;
  const words = [upstream?.error_message, upstream?.error_code].filter(Boolean).join(" · ");
  const trace = error?.traceId ?? job.record?.trace_id;
  const list = (error?.errors ?? []).map((one) => el("li", { text: faultWords(one) }));
  const advice = phase === "refused" ? adviceOn(error) : "";
  return [
    el(
      "div",
      { class: `view ended ${phase}` },
      icon(phase === "cancelled" ? "stop" : "alert"),
      el("p", { class: "lead", text: titles[phase] }),
      about && about !== titles[phase] && el("p", {}, ...prose(about)),
      list.length > 0 && el("ul", {}, ...list),
      words && el("p", {}, el("strong", { text: "RunComfy said: " }), words),
      advice && el("p", { class: "remedy" }, el("strong", { text: "What to do: " }), advice),
      el(
        "dl",
        { class: "ids" },
        phase === "refused" &&
          error?.code &&
          el(
            "div",
            {},
            el("dt", { text: "Code" }),
            el("dd", {}, el("code", { text: [error.code, error.status].filter(Boolean).join(" · ") })),
          ),
        trace && idRow("Trace", trace, "the trace id"),
      ),
    ),
  ];
}

function whyOf(job) {
  const { phase } = job;
  if (phase === "refused") return job.error?.detail ?? job.error?.message ?? "";
  const state = job.updates.at(-1)?.state;
  if (state === "expired") return "It had not started by its deadline.";
  if (phase === "cancelled") return "It was taken out of the queue before it started.";
  const error = job.result?.error ?? job.record?.error ?? job.error?.detail ?? "RunComfy gave no reason.";
  return typeof error === "string" ? error : (error.message ?? JSON.stringify(error));
}

const button = (word, name, act, kind = "ghost") =>
  el(
    "button",
    { type: "button", class: `button ${kind}`, onclick: act },
    icon(name),
    el("span", { text: word }),
  );

/** The buttons of a job. */
export function actionsFor(job, acts) {
  if (!job) return [];
  const { phase } = job;
  if (phase === "sending") return [button("Stop asking", "close", () => acts.stop(job))];
  if (phase === "queued") return [button("Cancel", "stop", (event) => acts.cancel(job, event.currentTarget))];
  if (phase === "done") {
    const [file] = filesOf(job.result?.output);
    return [
      file && button("Download", "save", (event) => download(file, event.currentTarget), "solid"),
      file &&
        el(
          "a",
          { class: "button ghost", href: file.url, target: "_blank", rel: "noopener noreferrer" },
          icon("open"),
          el("span", { text: "Open the file" }),
          el("span", { class: "sr-only", text: " in a new tab" }),
        ),
      file && copyButton(() => file.url, { label: "Copy its address" }),
      button("Use these inputs", "again", () => acts.reuse(job)),
    ].filter(Boolean);
  }
  if (phase === "refused") return refusedActions(job, acts);
  return isLive(phase) ? [] : [button("Use these inputs", "again", () => acts.reuse(job))];
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

/** Saves a file of another host under a name of its own; where its host lets no page read it, opens it. */
async function download({ url, kind }, shut) {
  if (shut.ariaDisabled === "true") return;
  shut.ariaDisabled = "true";
  const name = nameIn(url) ?? `reelgate.${{ video: "mp4", image: "png", audio: "mp3" }[kind]}`;
  announce(`Downloading ${name}`);
  try {
    const answer = await fetch(url, { credentials: "omit", referrerPolicy: "no-referrer" });
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    const address = URL.createObjectURL(await answer.blob());
    el("a", { href: address, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(address), 60_000);
    announce(`Downloaded ${name}`);
  } catch {
    el("a", { href: url, download: name, target: "_blank", rel: "noopener noreferrer" }).click();
    announce("Its host lets no page save the file. It was opened instead: save it from there.");
  }
  shut.ariaDisabled = "false";
}

/** The name of a file in its address, if it has one with an ending. */
function nameIn(url) {
  if (!/^https?:/i.test(url) || !URL.canParse(url)) return null;
  const last = new URL(url).pathname.split("/").pop() ?? "";
  return /^[\w.-]{1,80}\.\w{2,4}$/.test(last) ? last : null;
}

/** A job's address within this page. It holds no secret: the job opens in the browser that made it. */
export const linkTo = (requestId) => `${location.href.split("#")[0]}#job=${requestId}`;

/** A link to the job, to open, to keep as a bookmark and to copy. */
export function linkRow(requestId) {
  return el(
    "div",
    { class: "id" },
    el("dt", { class: "sr-only", text: "Link" }),
    el(
      "dd",
      {},
      el("a", { href: `#job=${requestId}` }, icon("link"), " Link to this job"),
      copyButton(() => linkTo(requestId), { bare: true, what: "the link to this job" }),
    ),
  );
}

/** A document as JSON, to read and to copy: in full, though what is shown leaves long data out. */
export function jsonBlock(name, value) {
  const whole = JSON.stringify(value, null, 2);
  const shown = whole.replace(/(data:[\w/+.-]+;base64,)[\w+/=]{40,}/g, "$1…");
  return el(
    "div",
    { class: "document" },
    el(
      "div",
      { class: "code-bar" },
      el("h3", { text: name }),
      copyButton(() => whole, { what: `the ${name.toLowerCase()} as JSON`, small: true }),
    ),
    el("pre", { class: "raw", tabindex: 0, role: "region", "aria-label": `${name} as JSON`, text: shown }),
  );
}
