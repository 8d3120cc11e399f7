// What pages are made of: calls with their states, tables, bars, dialogs, secrets.

import { html, useEffect, useRef, useState } from "./vendor.js";
import { ended, TAG } from "./calls.js";
import { away, bytes, count, credits, go, refine, useSession, when } from "./state.js";

// --- calls

const REST_MS = 30 * 60_000;
const MINUTE_MS = 60_000;
const LOOK_MS = 5000;
let touched = Date.now();
for (const kind of ["pointerdown", "keydown"]) addEventListener(kind, () => (touched = Date.now()), true);
/** Whether nobody looks at the page. One that nobody touches for half an hour rests, so that its session can end. */
const rests = () => document.hidden || Date.now() - touched > REST_MS;

const listeners = new Set();
/** The kinds of what events of a tenant's stream are of; those of operators say it themselves. */
const KINDS = { state: "requests webhooks", asset: "assets", endpoint: "webhooks", changed: "" };

/** Follows what changes by one stream, while somebody looks at the page; returns what ends it. */
export function follow(path) {
  let stream;
  const ring = (kinds) => listeners.forEach((one) => one(kinds));
  const open = () => {
    stream = new EventSource(path);
    stream.onopen = () => ring(); // what changed meanwhile nobody says
    for (const [name, kinds] of Object.entries(KINDS)) {
      stream.addEventListener(name, ({ data }) => ring(kinds || JSON.parse(data).kinds));
    }
    stream.addEventListener("problem", () => (stream.close(), ended()));
  };
  const look = () => {
    if (rests()) stream?.close();
    else if (!stream || stream.readyState === 2) open(); // it was closed, or refused: then a browser gives up
  };
  look();
  const timer = setInterval(look, LOOK_MS);
  document.addEventListener("visibilitychange", look);
  return () => {
    document.removeEventListener("visibilitychange", look);
    clearInterval(timer);
    stream?.close();
  };
}

/** Does `work` after changes of these kinds: one at a time, and a while after each change, for it is seldom alone. */
function useChanges(kinds, work, pause) {
  const last = useRef(work);
  last.current = work;
  useEffect(() => {
    if (!kinds) return undefined;
    let timer = 0;
    let again = false;
    const run = async () => {
      again = false;
      await (rests() || last.current());
      timer = 0;
      if (again) note();
    };
    const note = (found) => {
      if (found && !kinds.split(" ").some((one) => found.includes(one))) return;
      again = true;
      timer ||= setTimeout(run, pause);
    };
    listeners.add(note);
    return () => {
      clearTimeout(timer);
      listeners.delete(note);
      again = false;
    };
  }, [kinds, pause]);
}

/**
 * What a call gives, as it is now: `data`, `error`, and whether it is `loading`. While somebody looks at the page it
 * is repeated after changes of the kinds in `live`, once in a `pause` (ms), and once a minute in any case: the
 * stream may be held up on its way, and of some kinds nobody tells.
 */
export function useCall(ask, parts, { live = "", pause = 1000 } = {}) {
  const [state, setState] = useState({ data: undefined, error: undefined, loading: true });
  const again = useRef(/** @type {() => unknown} */ (() => {}));
  const key = JSON.stringify(parts);
  useEffect(() => {
    const given = { over: false, stop: new AbortController(), timer: 0, turn: 0 };
    const load = async (keeps) => {
      clearTimeout(given.timer);
      const turn = ++given.turn;
      const isOld = () => given.over || turn !== given.turn; // a later call overtook it
      if (!keeps) setState((before) => ({ data: undefined, error: undefined, loading: true, was: before.data }));
      else setState((before) => ({ ...before, loading: true }));
      try {
        const data = await ask(given.stop.signal);
        if (!isOld()) setState({ data, error: undefined, loading: false });
      } catch (error) {
        if (isOld() || error.name === "AbortError") return;
        setState((before) => ({ data: keeps ? before.data : undefined, error, loading: false }));
      }
      if (live && !isOld()) given.timer = setTimeout(repeat, MINUTE_MS);
    };
    const repeat = () => {
      if (rests()) given.timer = setTimeout(repeat, LOOK_MS);
      else load(true);
    };
    again.current = () => load(true);
    load(false);
    return () => {
      given.over = true;
      given.stop.abort();
      clearTimeout(given.timer);
    };
  }, [key, live]);
  useChanges(live, () => again.current(), pause);
  return { ...state, reload: () => again.current() };
}

/**
 * The states of a call: loading, an error with what to do, nothing found, or its children.
 *
 * @param {any} props
 */
export function Shown({ of, empty, isEmpty = () => false, rows = 4, children }) {
  if (of.data === undefined && of.error) return html`<${Trouble} error=${of.error} again=${of.reload} />`;
  if (of.data === undefined) return html`<${Skeleton} rows=${rows} />`;
  return html`
    ${of.error && html`<${Trouble} error=${of.error} again=${of.reload} stale=${true} />`}
    ${isEmpty(of.data) ? html`<div class="empty">${empty}</div>` : children(of.data)}
  `;
}

export const Skeleton = ({ rows }) => html`<div class="skeleton" role="status" aria-label="Loading">
  ${Array.from({ length: rows }, () => html`<i></i>`)}
</div>`;

/** An error as its problem document has it: what is wrong, where, and what to do. */
export function Trouble({ error, again, stale = false }) {
  const problem = error.problem ?? { title: "This page has a fault.", detail: String(error) };
  return html`<div class="notice bad" role="alert">
    <div>
      <strong>${problem.title}</strong> ${problem.detail && problem.detail !== problem.title ? problem.detail : ""}
      ${problem.errors?.length > 0 &&
      html`<ul>
        ${problem.errors.map((one) => html`<li><code>${one.pointer}</code> ${one.detail}</li>`)}
      </ul>`}
      ${problem.remedy && html`<p class="hint">${problem.remedy}</p>`}
      ${stale && html`<p class="hint">What is shown below is older.</p>`}
      ${problem.trace_id && html`<p class="hint">Trace <code>${problem.trace_id}</code></p>`}
      ${again && html`<button class="button small" onClick=${again}>Try again</button>`}
    </div>
  </div>`;
}

// --- texts

export const Pill = ({ tone = "", children }) => html`<span class=${`pill ${tone}`}>${children}</span>`;
const TONES = {
  ...{ completed: "good", active: "good", stored: "good", closed: "good", good: "good", delivered: "good" },
  ...{ enabled: "good", pending: "busy", delivering: "busy", running: "busy" },
  ...{ failed: "bad", rejected: "bad", lost: "bad", gone: "bad", revoked: "bad", open: "bad", bad: "bad", exhausted: "bad" },
  ...{ retrying: "warn", unknown: "warn", half_open: "warn", expired: "warn", note: "warn", disabled: "warn", paused: "warn" },
  ...{ in_progress: "busy", dispatching: "busy", in_queue: "busy", accepted: "busy", copying: "busy" },
};
/** What a credential's condition means: of its circuit breaker nobody needs to know. */
const WORDS = { closed: "in use", open: "not used", half_open: "being tried" };
export const State = ({ of }) => html`<${Pill} tone=${TONES[of] ?? ""}>${WORDS[of] ?? String(of).replaceAll("_", " ")}<//>`;

/** A moment, with how long ago it is; the whole moment is its title. */
export const Time = ({ at, rel = false }) =>
  at ? html`<time datetime=${at} title=${rel ? when(at) : away(at)}>${rel ? away(at) : when(at)}</time>` : "–";

/** Names and values; those without a value are left out. */
export const Facts = ({ of }) => html`<dl class="facts">
  ${of
    .filter(([, value]) => value !== null && value !== undefined && value !== "")
    .map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}
</dl>`;

/** JSON for people, whatever stands in it: it is shown as text. `told` says how a member is told, as for `JSON.stringify`. */
export const Json = ({ of, told = null }) => html`<pre class="json" tabindex="0">${JSON.stringify(of, told, 2)}</pre>`;

export function Copy({ text, label = "Copy" }) {
  const [done, setDone] = useState(false);
  const copy = async () => {
    await navigator.clipboard.writeText(text); // a session is kept where this is there: over https, or on this machine
    setDone(true);
    setTimeout(() => setDone(false), 2000);
  };
  return html`<button type="button" class="button small" onClick=${copy}>${done ? "Copied" : label}</button>`;
}

// --- tables

const AT_FIRST = 25;

/** How many of so many rows are drawn: those that are seen first, then, after a paint, all. */
function useDrawn(size) {
  const [all, setAll] = useState(false);
  const rests = !all && size > AT_FIRST;
  useEffect(() => {
    if (!rests) return undefined;
    const timer = setTimeout(() => setAll(true), 30);
    return () => clearTimeout(timer);
  }, [rests]);
  return rests ? AT_FIRST : size;
}

/** How a member of a row is shown, and what its column is like. */
const CELLS = {
  time: ["tight", (at) => html`<${Time} at=${at} />`],
  ago: ["tight", (at) => html`<${Time} at=${at} rel=${true} />`],
  count: ["right", count],
  credits: ["right", credits],
  code: ["", (value) => html`<code>${value}</code>`],
  state: ["", (value) => html`<${State} of=${value} />`],
};
/** A column as `[title, cell of a row, class]`: where a member is named in place of a cell, its class begins with how to show it. */
function column([title, cell, kind = ""]) {
  if (typeof cell !== "string") return [title, cell, kind];
  const [how, ...more] = kind.split(" ");
  const [own, show] = CELLS[how] ?? [how, (value) => value ?? ""];
  return [title, (row) => show(row[cell]), [own, ...more].join(" ")];
}

/**
 * A table whose rows can be opened: by a click, by J, K and Enter. `columns` are `[title, cell, class]`; the
 * first cell of a row is its link, if there is an `open` that gives the address of a row. On a narrow screen each row
 * is a card, unless it `isGrid`: numbers that are read downwards.
 */
export function Table({ columns, rows, keyOf, open, chosen, caption, isGrid = false }) {
  const drawn = useDrawn(rows.length);
  const shown = columns.map(column);
  return html`<div class=${`scroll ${isGrid ? "grid" : "rows"}`} tabindex="0" role="region" aria-label=${caption}>
    <table>
      <caption class="sr-only">${caption}</caption>
      <thead><tr>${shown.map(([title, , kind]) => html`<th class=${kind ?? ""} scope="col">${title || html`<span class="sr-only">More</span>`}</th>`)}</tr></thead>
      <tbody>
        ${rows.slice(0, drawn).map((row) => {
          const key = keyOf(row);
          return html`<tr
            key=${key}
            class=${chosen === key ? "chosen" : ""}
            onClick=${(event) => {
              if (open && !event.target.closest("a, button, input") && !String(getSelection())) go(open(row));
            }}
          >
            ${shown.map(
              ([title, cell, kind], place) => html`<td class=${kind ?? ""} data-name=${title}>
                ${place === 0 && open
                  ? html`<a class="opens" data-row href=${open(row)} aria-current=${chosen === key ? "true" : null}>${cell(row)}</a>`
                  : cell(row)}
              </td>`,
            )}
          </tr>`;
        })}
      </tbody>
    </table>
  </div>`;
}

/** The way to the next page of a list, and back to its beginning. */
export const Pages = ({ next, cursor, onGo }) =>
  (next || cursor) &&
  html`<nav class="pages" aria-label="Pages of the list">
    ${cursor && html`<button class="button small" onClick=${() => onGo("")}>First page</button>`}
    ${next && html`<button class="button small" onClick=${() => onGo(next)}>Next page</button>`}
  </nav>`;

/**
 * A card with a table of what a call gave, page by page: `rows` takes them from its document, and the member `param` of the
 * address says which page. Everything else is the table's; what is inside stands below it.
 */
export const List = ({ title = "", caption = title, more = "", of, rows, drawn = 6, empty = "", query = {}, param = "cursor", children = null, ...table }) => html`<${Card} title=${title} more=${more} kind="flush">
  <${Shown} of=${of} rows=${drawn} isEmpty=${(data) => !rows(data).length && !data.next_cursor && !query[param]} empty=${empty}>
    ${(data) => html`<${Table} caption=${caption} rows=${rows(data)} ...${table} />
      ${!rows(data).length && html`<p class="empty">None among those that were looked at; there may be more.</p>`}
      <${Pages} next=${data.next_cursor} cursor=${query[param]} onGo=${(cursor) => refine({ [param]: cursor, open: "" }, false)} />`}
  <//>
  ${children}
<//>`;

// --- limits

/** An amount of a metric, such as `credits-day`, as people read it. */
export const amountOf = (metric, amount) =>
  amount === null ? "none" : metric.startsWith("credits") ? credits(amount) : metric === "stored-bytes" ? bytes(amount) : count(amount);

/** A limit as a bar: what is spent, what is held, what remains, and when that changes. */
export function LimitBar({ of }) {
  const limit = of.burst ?? of.limit; // of a rate: as many as may come at once
  const whole = Math.max(limit, of.spent + of.held, 1);
  const used = limit > 0 ? (limit - of.remaining) / limit : 1;
  const tone = used >= 1 ? "full" : used >= 0.8 ? "near" : "";
  const show = (value) => amountOf(of.metric, value);
  const isRate = of.burst !== null;
  const told = [
    isRate ? `${show(of.limit)} a minute, ${show(limit)} at once` : of.period ? `${show(of.spent)} spent` : "",
    of.held > 0 && `${show(of.held)} ${of.period ? "held" : "now"}`,
    of.resets_at && Date.parse(of.resets_at) > Date.now() + 1000 && html`back <${Time} at=${of.resets_at} rel=${true} />`,
    of.override_until && html`override until <${Time} at=${of.override_until} />`,
  ].filter(Boolean);
  return html`<li class="limit">
    <div class="limit-head">
      <strong>${of.metric}</strong>
      <span class="hint">${[of.holder, of.model_id, of.period !== "total" && of.period].filter(Boolean).join(" · ")}</span>
      <span class="number">${show(of.remaining)} of ${show(limit)} left</span>
    </div>
    <div
      class=${`meter ${tone}`}
      role="img"
      aria-label=${`${show(of.spent)} spent, ${show(of.held)} held, of ${show(limit)}`}
    >
      <i class="spent" style=${{ width: `${((isRate ? limit - of.remaining : of.spent) / whole) * 100}%` }}></i>
      <i class="held" style=${{ width: `${(of.held / whole) * 100}%` }}></i>
    </div>
    ${told.length > 0 && html`<p class="hint">${told.map((one, place) => html`${place ? " · " : ""}${one}`)}</p>`}
  </li>`;
}

// --- dialogs

/** A dialog that is open while it is drawn; Esc closes it, unless it `stays`. */
export function Dialog({ title, onClose, stays = false, children }) {
  const box = useRef(null);
  useEffect(() => {
    const before = /** @type {HTMLElement | null} */ (document.activeElement);
    box.current.showModal();
    return () => before?.focus();
  }, []);
  // A browser closes a dialog at the second Esc, whatever the page says.
  const closed = () => (stays ? box.current.showModal() : onClose());
  return html`<dialog ref=${box} aria-label=${title} onClose=${closed} onCancel=${(event) => stays && event.preventDefault()}>
    <h2>${title}</h2>
    ${children}
  </dialog>`;
}

/** Says for some seconds what was done, also to whoever hears the page. */
function tell(text) {
  const line = document.createElement("p");
  line.className = "told";
  line.role = "status";
  document.body.append(line);
  setTimeout(() => (line.textContent = text), 50);
  setTimeout(() => line.remove(), 5000);
}

/**
 * A form for a change. `fields` are `{name, label, kind, value, hint, options, rare}`; `onDo` gets their values by name and
 * returns a promise, of "told" where it says itself what was done. With `needsReason` it asks why, for the audit log. Those that are `rare` stand behind the words `rarely`.
 */
export function ChangeDialog({ title, text, fields = [], rarely = "More", needsReason = true, verb, danger = false, onDo, onClose }) {
  const [values, setValues] = useState(Object.fromEntries(fields.map((one) => [one.name, one.value ?? ""])));
  const [reason, setReason] = useState("");
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const send = async (event) => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      const told = await onDo({ ...values, reason });
      onClose();
      if (told !== "told") tell(`Done: ${title}.`);
    } catch (found) {
      setError(found);
      setBusy(false);
    }
  };
  const drawn = (all) => all.map(({ rare, ...one }) => html`<${Field} ...${one} value=${values[one.name]} onChange=${(value) => setValues((was) => ({ ...was, [one.name]: value }))} />`);
  const more = fields.filter((one) => one.rare);
  return html`<${Dialog} title=${title} onClose=${onClose}>
    <form onSubmit=${send}>
      ${text && html`<p>${text}</p>`}
      ${drawn(fields.filter((one) => !one.rare))}
      ${more.length > 0 && html`<details open=${more.some((one) => one.value)}><summary>${rarely}</summary>${drawn(more)}</details>`}
      ${needsReason &&
      html`<${Field} label="Reason" hint="It stands in the audit log." value=${reason} onChange=${setReason} required=${true} maxlength="200" />`}
      ${error && html`<${Trouble} error=${error} />`}
      <div class="actions">
        <button class=${`button solid ${danger ? "danger" : ""}`} disabled=${busy}>${busy ? "…" : verb}</button>
        <button type="button" class="button" onClick=${onClose}>Cancel</button>
      </div>
    </form>
  <//>`;
}

let ids = 0;
/** A labelled input: `kind` is text, number, password, select, checks or area. */
export function Field({ label, hint, kind = "text", value, onChange, options = [], ...more }) {
  const [id] = useState(() => `f${(ids += 1)}`);
  const change = (event) => onChange(event.target.value);
  if (kind === "checks") {
    const given = Array.isArray(value) ? value : [];
    return html`<fieldset class="field">
      <legend>${label}</legend>
      ${options.map(
        (one) => html`<label class="check"
          ><input
            type="checkbox"
            checked=${given.includes(one)}
            onChange=${(event) =>
              onChange(event.target.checked ? [...given, one] : given.filter((other) => other !== one))}
          />
          ${one}</label
        >`,
      )}
      ${hint && html`<p class="hint">${hint}</p>`}
    </fieldset>`;
  }
  const input =
    kind === "select"
      ? html`<select id=${id} value=${value} onChange=${change} ...${more}>
          ${options.map((one) => {
            const [name, text] = Array.isArray(one) ? one : [one, one];
            return html`<option value=${name} selected=${name === value}>${text}</option>`;
          })}
        </select>`
      : kind === "area"
        ? html`<textarea id=${id} value=${value} onInput=${change} rows="4" ...${more}></textarea>`
        : html`<input id=${id} type=${kind} value=${value} onInput=${change} autocomplete="off" ...${more} />`;
  return html`<div class="field">
    <label for=${id}>${label}</label>
    ${input} ${hint && html`<p class="hint">${hint}</p>`}
  </div>`;
}

/** A secret that is shown once: it can be copied, and goes only when somebody says that they have it. */
export function SecretDialog({ title, text, secret, onClose }) {
  const [has, setHas] = useState(false);
  return html`<${Dialog} title=${title} stays=${!has} onClose=${onClose}>
    <p>${text}</p>
    <p class="secret"><code>${secret ?? "This call repeated an earlier one, whose answer alone had the secret."}</code></p>
    ${secret && html`<${Copy} text=${secret} />`}
    <label class="check"
      ><input type="checkbox" checked=${has} onChange=${(event) => setHas(event.target.checked)} /> I have kept it: it
      is stored nowhere and cannot be shown again.</label
    >
    <div class="actions"><button class="button solid" disabled=${!has} onClick=${onClose}>Done</button></div>
  <//>`;
}

// --- pages

/** The head of a page: its title, what can be done, and below it the content. */
export const Page = ({ title, lead, actions, children }) => html`<div class="page">
  <header class="page-head">
    <div>
      <h1 id="title" tabindex="-1">${title}</h1>
      ${lead && html`<p class="lead">${lead}</p>`}
    </div>
    <div class="actions">${actions}</div>
  </header>
  ${children}
</div>`;

export const Card = ({ title, more, children, kind = "" }) => html`<section class=${`card ${kind}`}>
  ${title && html`<h2>${title}<span class="more">${more}</span></h2>`}
  ${children}
</section>`;

/** A number with its name; `href` leads to where it comes from. */
export const Tile = ({ name, value, hint, href, tone = "" }) => html`<a class=${`tile ${tone}`} href=${href ?? null}>
  <span class="tile-name">${name}</span>
  <strong class="number">${value}</strong>
  <span class="hint">${hint ?? ""}</span>
</a>`;

/** A button that opens a dialog, where the session may do it. */
export function Act({ label, scope, danger = false, children }) {
  const [open, setOpen] = useState(false);
  const { can } = useSession();
  if (scope && !can(scope)) return null;
  return html`<button class=${`button small ${danger ? "danger" : ""}`} onClick=${() => setOpen(true)}>${label}</button>
    ${open && children(() => setOpen(false))}`;
}

/** A button that opens the form of a change; its words also stand on the form, unless that has others. */
export const Change = ({ label, scope, danger = false, ...more }) => html`<${Act} label=${label} scope=${scope} danger=${danger}>
  ${(close) => html`<${ChangeDialog} title=${label} verb=${label} danger=${danger} ...${more} onClose=${close} />`}
<//>`;

/** Saves a text as a file. */
export function save(name, type, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** Rows as CSV; a cell that a spreadsheet would take for a formula gets an apostrophe. */
export const csvOf = (rows) =>
  rows
    .map((row) =>
      row
        .map((cell) => {
          const text = typeof cell === "string" && /^[=+\-@\t\r]/.test(cell) ? `'${cell}` : String(cell ?? "");
          return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
        })
        .join(","),
    )
    .join("\r\n") + "\r\n";

export const tagOf = (document) => document[TAG] ?? "*";
