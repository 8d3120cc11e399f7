// A file of the form: one of the samples, an address, or a file of the visitor's own as a data: URI.

import { announce, el, frame, freshId, humanised, icon, isShowable } from "./playground-kit.js";
import { factsLine, NOUN } from "./playground-files.js";
import { Original } from "./playground-original.js";

/** A control, as those of playground-fields.js; also `facts(seen)` and `waits()` for what a quote sees. */
export function mediaSlot(spec, context) {
  const { kind, types, rules } = spec.media;
  const noun = NOUN[kind] ?? "file";
  const samples = kind === "image" ? context.samples : [];
  const note = rules.join(" ");
  const { node, label, hint, problem, describe } = frame({ ...spec, note }, { group: true, wide: true });
  const ids = { address: freshId("address"), sample: freshId("sample"), list: freshId("earlier") };
  let value = "";
  let fault = null;
  let timer = 0;

  const screen = el("div", { class: "preview" });
  const line = el("p", { class: "facts" });
  const told = el("p", { class: "hint note", hidden: true });
  const original = new Original(context.upload, {
    line,
    told,
    done: (reference) => take(reference, { from: "upload" }),
  });
  const earlier = el("datalist", { id: ids.list });
  const address = el("input", {
    id: ids.address,
    type: "url",
    list: ids.list,
    placeholder: "https://…",
    autocomplete: "off",
    inputmode: "url",
  });
  address.spellcheck = false;
  const file = el("input", { type: "file", class: "sr-only", accept: kind === "any" ? null : `${kind}/*` });
  const clear = el(
    "button",
    { type: "button", class: "button ghost square", "aria-label": `Clear ${label}`, hidden: true },
    icon("close"),
  );
  const radios = samples.map((sample) =>
    el("input", { type: "radio", name: ids.sample, class: "sr-only", value: sample.url }),
  );
  const row = el("div", { class: "samples", role: "radiogroup", "aria-label": `${label}: samples` });
  samples.forEach((sample, index) =>
    row.append(
      el(
        "label",
        { class: "sample" },
        radios[index],
        el("img", { src: sample.url, alt: "", loading: "lazy", width: 96, height: 54 }),
        el("span", { text: titleOf(sample) }),
      ),
    ),
  );
  const box = el(
    "div",
    { class: `slot slot-${kind}` },
    screen,
    samples.length > 0 && row,
    line,
    el(
      "div",
      { class: "slot-inputs" },
      el("label", {
        class: "hint",
        for: ids.address,
        text: `${samples.length > 0 ? "Or an" : "An"} address, or a file of your own`,
      }),
      el(
        "div",
        { class: "row" },
        address,
        earlier,
        el(
          "label",
          { class: "button ghost" },
          file,
          icon("file"),
          el("span", { text: "Choose file" }),
          el("span", { class: "sr-only", text: ` for ${label}` }),
        ),
        clear,
      ),
    ),
    told,
    original.button,
  );
  node.append(box, ...[hint, problem].filter(Boolean));

  /** Takes a new value and shows it, wherever it came from. */
  const take = (next, { from = "", silent = false } = {}) => {
    value = next;
    fault = null;
    if (from !== "address") address.value = value.startsWith("data:") ? "" : value;
    for (const radio of radios) radio.checked = radio.value === value;
    if (from !== "file") {
      told.hidden = true;
      original.leave();
      context.shelf.remove(made);
    }
    clear.hidden = value === "" || spec.fixed === true;
    clearTimeout(timer);
    timer = setTimeout(show, from === "address" ? 500 : 0);
    if (!silent) made.touch();
  };

  const show = () => {
    const sample = samples.find((one) => one.url === value);
    const name = sample ? `the sample ${titleOf(sample)}` : `your ${noun}`;
    const blank =
      value === "" ? nothing(noun) : el("p", { class: "hint", text: "There is no preview of this." });
    screen.replaceChildren(isShowable(value) ? player(kind, value, name) : blank);
    screen.classList.toggle("filled", isShowable(value));
  };

  const takeFile = async (chosen) => {
    if (!chosen) return;
    line.textContent = "Reading the file …";
    await context.shelf.put(made, {
      file: chosen,
      types,
      kind,
      tell: (fit) => {
        take(fit.value ?? "", { from: "file", silent: true });
        fault = fit.fault ?? null;
        line.textContent = "";
        told.textContent = fit.note || (fit.fault ? "" : `${chosen.name} goes with the request, by value.`);
        told.hidden = told.textContent === "";
        original.offer(fit.note || fit.isLarge ? chosen : null);
        if (fit.note) announce(fit.note);
        made.touch();
      },
    });
  };

  const made = {
    node,
    label,
    target: address,
    touched: false,
    isMedia: true,
    value: () => (value.trim() === "" ? undefined : value.trim()),
    fill: (given) =>
      take(given ?? (spec.required && samples.length > 0 ? samples[0].url : ""), { silent: true }),
    problems: (texts) => describe(address, texts),
    fault: () => fault,
    route: () => made,
    children: () => [],
    sample: () => samples.find((one) => one.url === value),
    waits: () => {
      if (value !== "") line.textContent = "Checking it …";
      box.classList.remove("good");
    },
    facts: (seen) => {
      const isGood = Boolean(seen?.type) && seen.errors.length === 0;
      line.textContent = seen?.type ? factsLine(seen) : "";
      if (isGood) line.prepend(icon("check"));
      box.classList.toggle("good", isGood);
    },
    touch: () => {
      made.touched = true;
      context.changed(made);
    },
    gone: () => context.shelf.remove(made),
  };

  radios.forEach((radio) => radio.addEventListener("change", () => take(radio.value)));
  address.addEventListener("input", () => take(address.value, { from: "address" }));
  address.addEventListener("focus", () =>
    earlier.replaceChildren(...context.earlier(kind).map((url) => el("option", { value: url }))),
  );
  file.addEventListener("change", () => {
    takeFile(file.files[0]);
    file.value = "";
  });
  clear.addEventListener("click", () => {
    take("");
    line.textContent = "";
    address.focus();
  });
  takesDrops(box, takeFile);
  made.fill(undefined);
  return made;
}

/** "harbour.jpg" as "Harbour". */
export const titleOf = (sample) => humanised(sample.name.replace(/\.[a-z0-9]+$/i, ""));

function nothing(noun) {
  return el(
    "p",
    { class: "hint" },
    icon(noun === "picture" ? "picture" : "file"),
    el("span", { text: `No ${noun} yet. Choose one, paste it or drop it here.` }),
  );
}

function player(kind, url, name) {
  const failed = () =>
    screenOf(media)?.replaceChildren(el("p", { class: "hint", text: "There is no preview of this." }));
  const media =
    kind === "video" || kind === "audio"
      ? el(kind, { src: url, controls: true, preload: "metadata", "aria-label": `Preview of ${name}` })
      : el("img", { src: url, alt: `Preview of ${name}`, referrerpolicy: "no-referrer" });
  media.addEventListener("error", failed);
  return media;
}

const screenOf = (media) => media.closest(".preview");

function takesDrops(box, takeFile) {
  const over = (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    box.classList.add("over");
  };
  box.addEventListener("dragenter", over);
  box.addEventListener("dragover", over);
  box.addEventListener("dragleave", () => box.classList.remove("over"));
  box.addEventListener("drop", (event) => {
    event.preventDefault();
    box.classList.remove("over");
    takeFile(event.dataTransfer.files[0]);
  });
  box.addEventListener("paste", (event) => {
    const pasted = event.clipboardData?.files[0];
    if (!pasted) return;
    event.preventDefault();
    takeFile(pasted);
  });
}
