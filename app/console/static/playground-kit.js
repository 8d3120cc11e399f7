// Small tools of the playground: elements without innerHTML, amounts and times in plain words, copying.

/** An element: `on…` members listen, `text` is its text, true and false are bare attributes or none. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "text") node.textContent = value;
    else if (name === "value" || name === "checked" || name === "muted") node[name] = value;
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/**
 * An element that the page has, by its id.
 *
 * @returns {HTMLElement}
 */
export function part(id) {
  const node = document.getElementById(id);
  if (node === null) throw new Error(`The page has no #${id}.`);
  return node;
}

/**
 * The same, of what has a value and can be disabled: an input, a list to open, a button.
 *
 * @returns {HTMLInputElement}
 */
export const field = (id) => /** @type {HTMLInputElement} */ (part(id));

/** One of the drawings that the page defines as symbols. */
export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  const use = document.createElementNS(space, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  return svg;
}

/** 32 hexadecimal digits; crypto.randomUUID is not for pages over plain http. */
export const randomKey = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join(
    "",
  );

let ids = 0;
/** An id that nothing else on the page has. */
export const freshId = (stem) => `${stem}-${(ids += 1)}`;

/** Micro-credits for people: "0.15 credits", "1 credit", "free". */
export function credits(microcredits) {
  if (microcredits === 0) return "free";
  const amount = plainAmount(microcredits);
  return `${amount} ${amount === "1" ? "credit" : "credits"}`;
}

/** The bare number of credits, exact to the last micro-credit. */
export const plainAmount = (microcredits) =>
  (microcredits / 1_000_000).toLocaleString("en", { maximumFractionDigits: 6 });

export function bytes(count) {
  if (count < 1000) return `${count} B`;
  if (count < 1_000_000) return `${Math.round(count / 1000)} kB`;
  return `${(count / 1_000_000).toFixed(1)} MB`;
}

/** A span of time: "0.02 s", "4.5 s", "1 min 12 s", "2 h 5 min". */
export function span(ms) {
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 10) return `${seconds.toFixed(seconds < 1 ? 2 : 1)} s`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** A running clock, as on a slate: "00:04.2". */
export function slate(ms) {
  const tenths = Math.floor(Math.max(0, ms) / 100);
  const minutes = Math.floor(tenths / 600);
  const seconds = Math.floor(tenths / 10) % 60;
  const twoDigits = (number) => String(number).padStart(2, "0");
  return `${twoDigits(minutes)}:${twoDigits(seconds)}.${tenths % 10}`;
}

/** The time of day of an ISO text, in the visitor's own zone. */
export const timeOfDay = (iso) =>
  new Date(iso).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

/** "number_of_frames" as a title: "Number of frames"; "image_urls" as "Image". */
export function humanised(name) {
  const words = String(name)
    .replace(/[_-]+/g, " ")
    .replace(/([a-z])([A-Z])/g, "$1 $2")
    .replace(/ urls?$/i, "")
    .trim();
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** Says it to screen readers, politely; what is being said stays until something else is. */
export function announce(text) {
  const live = part("live");
  if (live.textContent !== text) live.textContent = text;
}

/** Whether an address may be put into a link, a picture or a player. */
export const isMedia = (address) =>
  typeof address === "string" && /^(https?:\/\/|data:(image|audio|video)\/)/i.test(address);

const httpOrigins = new Set([location.origin]);
/** Plain http is shown from this page's own origin and those that are named: the policy blocks all other. */
export const showFrom = (address) => httpOrigins.add(new URL(address).origin);

/** The same of what a visitor may have typed: whatever the policy would block is not even tried. */
export const isShowable = (address) =>
  isMedia(address) &&
  (!/^http:/i.test(address) || (URL.canParse(address) && httpOrigins.has(new URL(address).origin)));

export const prefersStillness = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** Brings it into view and, where it takes focus, focuses it. */
export function goTo(node, { focus = true } = {}) {
  if (focus) node.focus({ preventScroll: true });
  node.scrollIntoView({ block: "start", behavior: prefersStillness() ? "auto" : "smooth" });
}

async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = el("textarea", { class: "sr-only", value: text }); // pages over plain http have no clipboard
  document.body.append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  if (!copied) throw new Error("the browser did not copy");
  return undefined;
}

/** A button that copies what `text()` gives, and says that it did. A `bare` one shows its icon alone. */
export function copyButton(text, { label = "Copy", what = "", bare = false, small = false } = {}) {
  const word = el("span", { class: bare ? "sr-only" : null, text: label });
  const kind = bare ? "button plain" : `button ghost${small ? " small" : ""}`;
  const drawing = icon("copy");
  const about = what && el("span", { class: "sr-only", text: ` ${what}` });
  const button = el(
    "button",
    { type: "button", class: kind, title: bare ? `${label} ${what}` : null },
    drawing,
    word,
    about,
  );
  const draw = (outcome, shape) => {
    word.textContent = outcome;
    drawing.querySelector("use")?.setAttribute("href", `#i-${shape}`);
  };
  let timer = 0;
  button.addEventListener("click", async () => {
    try {
      await copy(text());
      draw("Copied", "check");
    } catch {
      draw("Not copied", "alert");
    }
    announce(`${word.textContent} ${what}`.trim());
    button.focus({ preventScroll: true });
    clearTimeout(timer);
    timer = setTimeout(draw, 1800, label, "copy");
  });
  return button;
}

/** Text with what stands in `backticks` as code. */
export const prose = (text) =>
  String(text)
    .split("`")
    .map((piece, index) => (index % 2 === 1 ? el("code", { text: piece }) : piece));

/**
 * What stands around an input: label or legend, what to know, what is wrong.
 *
 * @param {any} spec the input's part of the model's schema, with its name
 * @param {{ group?: boolean, wide?: boolean, aside?: Node | null, inputId?: string, role?: string | null }} [look]
 */
export function frame(spec, { group = false, wide = false, aside = null, inputId = "", role = null } = {}) {
  const label = spec.schema.title || humanised(spec.name);
  const mark = spec.required && el("span", { class: "needed", text: " required" });
  const problem = el("p", { class: "problem", id: freshId("problem"), hidden: true });
  const { description } = spec.schema;
  const hints = [description && sentence(description), spec.note].filter(Boolean).join(" ");
  const hint = hints && el("p", { class: "hint", id: freshId("hint"), text: hints });
  const head = group
    ? el("legend", {}, el("span", { text: label }), mark)
    : el("label", { for: inputId }, el("span", { text: label }), mark);
  const node = el(
    group ? "fieldset" : "div",
    { class: `field${wide ? " wide" : ""}`, role, "data-name": spec.name },
    group ? head : el("div", { class: "field-head" }, head, aside),
    group && aside,
  );
  /** Ties the texts to an input, and shows or hides the problem. */
  const describe = (input, texts, { invalid = true } = {}) => {
    const ids = [hint && hint.id, texts.length > 0 && problem.id].filter(Boolean).join(" ");
    if (ids) input.setAttribute("aria-describedby", ids);
    else input.removeAttribute("aria-describedby");
    if (invalid && texts.length > 0) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
    problem.textContent = texts.map(sentence).join(" ");
    problem.hidden = texts.length === 0;
    node.classList.toggle("wrong", texts.length > 0);
  };
  return { node, label, hint, problem, describe };
}

/** The server's words as a sentence: "is required" becomes "Is required." */
export function sentence(text) {
  const upper = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(upper) ? upper : `${upper}.`;
}
