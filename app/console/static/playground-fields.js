// The simple inputs of the form: text, numbers, choices, switches, raw JSON. Each is a control:
//   node               what stands in the form
//   value()            what goes into the body; undefined: left out
//   fill(value)        shows a value; undefined: the schema's default, or nothing
//   problems(texts)    shows what is wrong with it
//   fault()            what is wrong before anybody is asked
//   route(tokens)      the control that a JSON pointer's rest leads to
//   target, label, touched

import { el, frame, freshId } from "./playground-kit.js";

const LONG_TEXT = /prompt|text|lyrics|script|caption|description/i;

const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);

/** Leaves out what says no more than the default does. */
function chosen(spec, value) {
  const plain = !spec.required && "default" in spec.schema && same(value, spec.schema.default);
  return plain ? undefined : value;
}

function control(context, made) {
  made.touched = false;
  made.fault ??= () => null;
  made.route = () => made;
  made.children = () => [];
  made.touch = () => {
    made.touched = true;
    context.changed(made);
  };
  made.fill(undefined);
  return made;
}

export function text(spec, context) {
  const { schema, name, required } = spec;
  const id = freshId("text");
  const long = LONG_TEXT.test(name) || schema.maxLength > 160;
  const input = long
    ? el("textarea", { id, rows: /negative/i.test(name) ? 2 : 3 })
    : el("input", { id, type: "text", autocomplete: "off" });
  input.spellcheck = long;
  if (required) input.setAttribute("aria-required", "true");
  const counter = Number.isInteger(schema.maxLength) && el("span", { class: "aside number" });
  const { node, label, hint, problem, describe } = frame(spec, { wide: long, aside: counter, inputId: id });
  node.append(input, ...[hint, problem].filter(Boolean));
  const count = () => {
    if (!counter) return;
    const length = [...input.value].length;
    counter.textContent = `${length} / ${schema.maxLength}`;
    counter.classList.toggle("over", length > schema.maxLength);
  };
  const made = control(context, {
    node,
    label,
    target: input,
    isProse: long,
    value: () => {
      const empty = input.value === "" && (required || !schema.default);
      return empty ? undefined : chosen(spec, input.value);
    },
    fill: (value) => {
      input.value = value ?? schema.default ?? "";
      count();
    },
    problems: (texts) => describe(input, texts),
  });
  input.addEventListener("input", () => {
    made.isOwn = true;
    count();
    made.touch();
  });
  return made;
}

export function number(spec, context) {
  const { schema, required } = spec;
  const id = freshId("number");
  const whole = schema.type === "integer";
  const low = schema.minimum ?? schema.exclusiveMinimum;
  const high = schema.maximum ?? schema.exclusiveMaximum;
  const step = schema.multipleOf ?? (whole ? 1 : stepOf(high - low));
  const input = el("input", {
    id,
    type: "number",
    step: whole ? 1 : "any",
    min: low,
    max: high,
    class: "number",
  });
  input.inputMode = whole && !(low < 0) && schema.default !== -1 ? "numeric" : "text";
  if (required) input.setAttribute("aria-required", "true");
  const slides = low !== undefined && high !== undefined && (high - low) / step <= 400;
  const bounds = boundsOf(low, high);
  const note = [bounds, !required && defaultOf(schema)].filter(Boolean).join(" ");
  const { node, label, hint, problem, describe } = frame({ ...spec, note }, { inputId: id });
  const slider =
    slides && el("input", { type: "range", min: low, max: high, step, "aria-label": `${label}, slider` });
  node.append(
    slides ? el("div", { class: "slide" }, slider, input) : input,
    ...[hint, problem].filter(Boolean),
  );
  const made = control(context, {
    node,
    label,
    target: input,
    value: () => (input.value === "" ? undefined : chosen(spec, Number(input.value))),
    fill: (value) => {
      input.value = value ?? schema.default ?? "";
      if (slider) slider.value = input.value === "" ? low : input.value;
    },
    problems: (texts) => describe(input, texts),
    fault: () => (input.validity.badInput ? "must be a number" : null),
  });
  input.addEventListener("input", () => {
    if (slider && input.value !== "") slider.value = input.value;
    made.touch();
  });
  if (slider) {
    slider.addEventListener("input", () => {
      input.value = slider.value;
      made.touch();
    });
  }
  return made;
}

const stepOf = (range) => (range <= 5 ? 0.05 : range <= 20 ? 0.1 : 1);

function boundsOf(low, high) {
  if (low !== undefined && high !== undefined) return `${low} to ${high}.`;
  if (low !== undefined) return `At least ${low}.`;
  return high === undefined ? "" : `At most ${high}.`;
}

function defaultOf(schema) {
  const value = schema.default;
  return value === undefined || value === "" || typeof value === "object" ? "" : `Default: ${value}.`;
}

const worded = (value) => (typeof value === "boolean" ? (value ? "Yes" : "No") : String(value));

/** One of a few: side by side where that is short, else a list to open. */
export function choice(spec, context) {
  const { schema, required } = spec;
  const optional = !required && !("default" in schema);
  const values = schema.enum.filter((value) => value !== null);
  const brief = values.length <= 4 && values.map(worded).join("").length + values.length * 4 <= 36;
  return (brief ? segments : menu)(spec, context, values, optional);
}

function segments(spec, context, values, optional) {
  const name = freshId("choice");
  const shown = optional ? [undefined, ...values] : values;
  const { node, label, hint, problem, describe } = frame(spec, { group: true, role: "radiogroup" });
  const radios = shown.map((value) => {
    const radio = el("input", { type: "radio", name, id: freshId("option"), onchange: () => made.touch() });
    radio.choice = value;
    return radio;
  });
  const row = el("div", { class: "segments" });
  for (const radio of radios) {
    const words = radio.choice === undefined ? "Not set" : worded(radio.choice);
    row.append(radio, el("label", { for: radio.id, text: words }));
  }
  node.append(row, ...[hint, problem].filter(Boolean));
  const made = control(context, {
    node,
    label,
    get target() {
      return radios.find((one) => one.checked) ?? radios[0];
    },
    value: () => {
      const radio = radios.find((one) => one.checked);
      return radio === undefined || radio.choice === undefined ? undefined : chosen(spec, radio.choice);
    },
    fill: (value) => {
      const wanted = value ?? spec.schema.default;
      for (const radio of radios)
        radio.checked = same(radio.choice, wanted) && (optional || wanted !== undefined);
    },
    problems: (texts) => describe(node, texts),
  });
  return made;
}

function menu(spec, context, values, optional) {
  const id = freshId("menu");
  const blank = optional || !("default" in spec.schema);
  const select = el("select", { id });
  if (blank) select.append(el("option", { value: "", text: optional ? "Not set" : "Choose one" }));
  values.forEach((value, index) => {
    const usual = same(value, spec.schema.default) ? " (default)" : "";
    select.append(el("option", { value: index, text: `${worded(value)}${usual}` }));
  });
  if (spec.required) select.setAttribute("aria-required", "true");
  const { node, label, hint, problem, describe } = frame(spec, { inputId: id });
  node.append(select, ...[hint, problem].filter(Boolean));
  const made = control(context, {
    node,
    label,
    target: select,
    value: () => (select.value === "" ? undefined : chosen(spec, values[Number(select.value)])),
    fill: (value) => {
      const index = values.findIndex((one) => same(one, value ?? spec.schema.default));
      select.value = index < 0 && blank ? "" : String(Math.max(0, index));
    },
    problems: (texts) => describe(select, texts),
  });
  select.addEventListener("change", () => made.touch());
  return made;
}

/** Yes or no. One that may be left out and has no default has three positions. */
export function toggle(spec, context) {
  if (!spec.required && !("default" in spec.schema)) {
    return choice({ ...spec, schema: { ...spec.schema, enum: [true, false] } }, context);
  }
  const id = freshId("switch");
  const input = el("input", { id, type: "checkbox", role: "switch", class: "switch" });
  const { node, label, hint, problem, describe } = frame(spec, { inputId: id, aside: input });
  node.classList.add("switch-field");
  node.append(...[hint, problem].filter(Boolean));
  const made = control(context, {
    node,
    label,
    target: input,
    value: () => chosen(spec, input.checked),
    fill: (value) => (input.checked = (value ?? spec.schema.default) === true),
    problems: (texts) => describe(input, texts),
  });
  input.addEventListener("change", () => made.touch());
  return made;
}

/** The last resort: whatever has no input of its own is written as JSON. */
export function rawJson(spec, context) {
  const id = freshId("json");
  const input = el("textarea", { id, rows: 4, class: "code-input", autocapitalize: "off" });
  input.spellcheck = false;
  if (spec.required) input.setAttribute("aria-required", "true");
  const { node, label, hint, problem, describe } = frame(
    { ...spec, note: "As JSON." },
    { wide: true, inputId: id },
  );
  node.append(input, ...[hint, problem].filter(Boolean));
  const read = () => {
    try {
      return { value: input.value.trim() === "" ? undefined : JSON.parse(input.value) };
    } catch (error) {
      return { fault: `is not JSON yet: ${error.message}` };
    }
  };
  const made = control(context, {
    node,
    label,
    target: input,
    value: () => {
      const { value } = read();
      return value === undefined ? undefined : chosen(spec, value);
    },
    fill: (value) => {
      const shown = value ?? spec.schema.default;
      input.value = shown === undefined ? "" : JSON.stringify(shown, null, 2);
    },
    problems: (texts) => describe(input, texts),
    fault: () => read().fault ?? null,
  });
  input.addEventListener("input", () => made.touch());
  return made;
}
