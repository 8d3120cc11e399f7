// The form of a model, made from its own input schema; and where each of the server's complaints belongs.

import { el, frame, humanised, icon } from "./playground-kit.js";
import { choice, number, rawJson, text, toggle } from "./playground-fields.js";
import { mediaSlot } from "./playground-media.js";
import {
  countNote,
  escaped,
  hasBranches,
  isScalar,
  mediaOf,
  resolved,
  singular,
  tokensOf,
} from "./playground-schema.js";

/**
 * The whole form. `context` has: samples, shelf, changed(control), earlier(kind).
 * It fills `element`, and gives value(), fill(input), judge(errors, media), untold(), and prose and slots.
 */
export function buildForm(model, element, context) {
  const root = model.input_schema;
  const body = objectParts(root, "", { ...context, root, media: mediaOf(model) });
  const narrow = body.filter((one) => !one.required);
  element.replaceChildren(
    el("div", { class: "fields" }, ...body.filter((one) => one.required).map((one) => one.control.node)),
    narrow.length > 0 && el("h3", { class: "divider", text: "Optional" }),
    el("div", { class: "fields" }, ...narrow.map((one) => one.control.node)),
  );
  const all = () => body.flatMap(({ control }) => [control, ...descendants(control)]);
  /** @type {{ pointer: string }[] | null} */
  let seen = null; // what the last quote saw
  const route = (tokens) => {
    const found = body.find(({ name }) => name === tokens[0]);
    return found ? found.control.route(tokens.slice(1)) : null;
  };
  return {
    value: () => valueOf(body),
    fill: (input) => body.forEach(({ name, control }) => control.fill(input?.[name])),
    faults: () => all().flatMap((control) => (control.fault() ? [{ control, detail: control.fault() }] : [])),
    touchAll: () => all().forEach((control) => (control.touched = true)),
    waits: () => all().forEach((control) => control.waits?.()),
    prose: () => all().find((control) => control.isProse) ?? null,
    slots: () => all().filter((control) => control.isMedia),
    first: () => body[0]?.control.target ?? null,
    /** Puts every complaint where its pointer leads, and gives them back, each with its control or null. */
    judge(errors, media = seen) {
      seen = media;
      const faults = this.faults();
      const placed = errors.map((one) => ({ ...one, control: route(tokensOf(one.pointer)) }));
      // What cannot be read is not also complained about as missing.
      const told = [
        ...faults,
        ...placed.filter((one) => !faults.some(({ control }) => control === one.control)),
      ];
      const place = new Map(all().map((control, index) => [control, index]));
      told.sort((one, other) => (place.get(one.control) ?? -1) - (place.get(other.control) ?? -1));
      for (const control of all()) {
        const own = control.touched ? told.filter((one) => one.control === control) : [];
        control.problems(own.map((one) => one.detail));
      }
      for (const one of this.slots()) one.facts?.(null);
      for (const one of seen ?? []) route(tokensOf(one.pointer))?.facts?.(one);
      return told;
    },
  };
}

const descendants = (control) => control.children().flatMap((child) => [child, ...descendants(child)]);

function objectParts(schema, template, context) {
  const needed = new Set(schema.required ?? []);
  return Object.entries(schema.properties ?? {})
    .map(([name, child]) => ({ name, child, required: needed.has(name) }))
    .sort((one, other) => Number(other.required) - Number(one.required))
    .map(({ name, child, required }) => ({
      name,
      required,
      control: make({ name, required, schema: child, template: `${template}/${escaped(name)}` }, context),
    }));
}

function valueOf(parts) {
  const body = {};
  for (const { name, control } of parts) {
    const value = control.value();
    if (value !== undefined) body[name] = value;
  }
  return body;
}

/** The control that suits a schema. */
function make(given, context) {
  const spec = { ...given, schema: resolved(given.schema, context.root) };
  const { schema, template } = spec;
  const file = context.media.get(template);
  if (file) return mediaSlot({ ...spec, media: file }, context);
  if (Array.isArray(schema.enum) && schema.enum.every(isScalar)) return choice(spec, context);
  if ("const" in schema && isScalar(schema.const)) {
    return choice({ ...spec, schema: { ...schema, enum: [schema.const] } }, context);
  }
  if (schema.type === "boolean") return toggle(spec, context);
  if (schema.type === "string") return text(spec, context);
  if (schema.type === "integer" || schema.type === "number") return number(spec, context);
  if (schema.type === "array" && (schema.items || context.media.has(`${template}/*`)))
    return listOf(spec, context);
  if (schema.properties && !hasBranches(schema)) return group(spec, context);
  return rawJson(spec, context);
}

/** An object within the body. One that may be left out is left out while nothing in it is said. */
function group(spec, context) {
  const { node, label, hint, problem, describe } = frame(spec, { group: true, wide: true });
  const parts = objectParts(spec.schema, spec.template, context);
  const inner = el("div", { class: "fields" }, ...parts.map((one) => one.control.node));
  node.classList.add("nested");
  node.append(...[hint].filter(Boolean), inner, problem);
  const made = {
    node,
    label,
    touched: false,
    target: parts[0]?.control.target ?? node,
    value: () => {
      const value = valueOf(parts);
      return !spec.required && Object.keys(value).length === 0 ? undefined : value;
    },
    fill: (value) => {
      for (const { name, control } of parts) control.fill(value?.[name] ?? spec.schema.default?.[name]);
    },
    problems: (texts) => describe(node, texts, { invalid: false }),
    fault: () => null,
    children: () => parts.map((one) => one.control),
    route: (tokens) => {
      const found = parts.find(({ name }) => name === tokens[0]);
      return found ? found.control.route(tokens.slice(1)) : made;
    },
  };
  return made;
}

function listOf(spec, context) {
  const template = `${spec.template}/*`;
  const media = context.media.get(template);
  const items = spec.schema.items ?? { type: "string" };
  const row = { schema: items, template };
  if (spec.schema.maxItems === 1) return single(spec, { ...row, media }, context);
  return many(spec, { ...row, media }, context);
}

/** A list that never has more than one element looks like that element. */
function single(spec, row, context) {
  const { title, description } = spec.schema;
  const schema = { ...resolved(row.schema, context.root), title, description };
  const inner = make({ ...spec, ...row, schema }, context);
  const { value, fill, route } = inner;
  inner.value = () => (value() === undefined ? undefined : [value()]);
  inner.fill = (given) => fill(given?.[0]);
  inner.route = (tokens) => (tokens.length === 0 ? inner : route(tokens.slice(1)));
  return inner;
}

/** Any number of the same. */
function many(spec, row, context) {
  const { minItems = 0, maxItems = Infinity, default: given } = spec.schema;
  const least = spec.required ? Math.max(1, minItems) : 0;
  const { node, label, hint, problem, describe } = frame(
    { ...spec, note: [row.media?.rules.join(" "), countNote(minItems, maxItems)].filter(Boolean).join(" ") },
    { group: true, wide: true },
  );
  const noun = singular(spec.schema.title || humanised(spec.name));
  const place = el("ol", { class: "rows" });
  const add = el(
    "button",
    { type: "button", class: "button ghost small", onclick: () => grow() },
    icon("plus"),
    el("span", { text: `Add ${noun.toLowerCase()}` }),
  );
  let rows = [];
  node.classList.add("list");
  node.append(...[hint].filter(Boolean), place, add, problem);

  const changed = (control) => {
    made.touched = true;
    context.changed(control);
  };
  const one = (value) => {
    const schema = { title: noun, ...resolved(row.schema, context.root) };
    const media = row.media && { ...row.media, rules: [] }; // the list says them, once
    const element = { name: spec.name, required: false, fixed: true, schema, template: row.template, media };
    const control = media
      ? mediaSlot(element, { ...context, changed })
      : make(element, { ...context, changed });
    control.fill(value);
    const remove = el(
      "button",
      { type: "button", class: "button ghost small remove" },
      icon("close"),
      el("span", { text: "Remove" }),
      el("span", { class: "sr-only", text: ` ${noun.toLowerCase()}` }),
    );
    const entry = { control, at: -1, item: el("li", {}, control.node, remove) };
    remove.addEventListener("click", () => shrink(entry));
    return entry;
  };
  const draw = () => {
    place.replaceChildren(...rows.map((entry) => entry.item));
    rows.forEach((entry, index) => entry.item.setAttribute("data-number", index + 1));
    add.disabled = rows.length >= maxItems;
    for (const entry of rows) entry.item.lastChild.hidden = rows.length <= least;
  };
  const grow = () => {
    rows.push(one(undefined));
    draw();
    rows.at(-1).control.target.focus();
  };
  const shrink = (entry) => {
    const index = rows.indexOf(entry);
    rows = rows.filter((other) => other !== entry);
    for (const control of [entry.control, ...descendants(entry.control)]) control.gone?.();
    draw();
    (rows[Math.max(0, index - 1)]?.control.target ?? add).focus();
    made.touch();
  };
  const made = {
    node,
    label,
    touched: false,
    get target() {
      return rows[0]?.control.target ?? add;
    },
    value: () => {
      const values = [];
      for (const entry of rows) {
        const value = entry.control.value();
        entry.at = value === undefined ? -1 : values.push(value) - 1;
      }
      return values.length === 0 ? undefined : values;
    },
    fill: (values) => {
      const shown = values ?? (row.media ? null : given) ?? [];
      rows = shown.map(one);
      while (rows.length < least) rows.push(one(rows.length === 0 ? firstOf(row, context) : undefined));
      draw();
    },
    problems: (texts) => describe(node, texts, { invalid: false }),
    fault: () => null,
    children: () => rows.map((entry) => entry.control),
    route: (tokens) => {
      const entry = rows.find(({ at }) => String(at) === tokens[0]);
      return entry ? entry.control.route(tokens.slice(1)) : made;
    },
    touch: () => {
      made.touched = true;
      context.changed(made);
    },
  };
  made.fill(undefined);
  return made;
}

const firstOf = (row, context) => (row.media?.kind === "image" ? context.samples[0]?.url : undefined);
