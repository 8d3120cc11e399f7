// Parts of several pages: the mode in the address, filters, timelines, media, checks, books, and the terms of API keys.

import { html, useEffect, useState } from "./vendor.js";
import { call } from "./calls.js";
import { Dialog, Facts, Field, Json, List, Shown, State, Time, Trouble, useCall } from "./kit.js";
import { bytes, clock, count, credits, modeIn, modeOf, refine, span, to } from "./state.js";

export const MODES = [["live", "Live"], ["test", "Test"]];

/** Which mode's numbers are shown; it stands in the address. */
export const ModePick = ({ query }) => html`<div class="segments" role="group" aria-label="Keys">
  ${MODES.map(
    ([mode, title]) => html`<button
      type="button"
      aria-pressed=${modeOf(query) === mode ? "true" : "false"}
      onClick=${() => refine({ mode: modeIn(mode), cursor: "", open: "" })}
    >
      ${title}
    </button>`,
  )}
</div>`;

/**
 * A filter that stands in the address; what is typed arrives there a moment later.
 * `kind` is text or select; the first one has `first`, so that F reaches it.
 */
export function Filter({ query, name, label, kind = "text", options, first = false, search = false, grow = false, ...more }) {
  const [value, setValue] = useState(query[name] ?? "");
  useEffect(() => setValue(query[name] ?? ""), [query[name]]);
  useEffect(() => {
    if (value === (query[name] ?? "")) return undefined;
    const timer = setTimeout(() => refine({ [name]: value.trim(), cursor: "", open: "" }), kind === "select" ? 0 : 350);
    return () => clearTimeout(timer);
  }, [value]);
  const marks = { ...(first ? { "data-filter": true } : {}), ...(search ? { "data-search": true, type: "search" } : {}) };
  return html`<div class=${grow ? "grow" : ""}><${Field} kind=${kind} label=${label} value=${value} options=${options} onChange=${setValue} ...${marks} ...${more} /></div>`;
}

const STATES = ["accepted", "dispatching", "in_queue", "in_progress", "completed", "failed", "cancelled", "rejected", "expired", "unknown", "lost"];
/** The filter by state, of requests or of whatever else has these. */
export const StateFilter = ({ states = STATES, ...more }) =>
  html`<${Filter} name="state" label="State" kind="select" options=${[["", "all"], ...states.map((one) => [one, one.replaceAll("_", " ")])]} ...${more} />`;

const NO_FILTERS = new Set(["mode", "open", "tab", "cursor", "hold", "show"]);
/** Filters of a page; on a narrow screen all but the first wait behind a button, unless one of them is set. */
export function Filters({ query, children }) {
  const [open, setOpen] = useState(() => Object.keys(query).some((name) => !NO_FILTERS.has(name)));
  return html`<div class=${`filters ${open ? "" : "few"}`} role="search">
    ${children}
    ${Array.isArray(children) && html`<button type="button" class="button small more" onClick=${() => setOpen(!open)}>${open ? "Fewer filters" : "Filters"}</button>`}
  </div>`;
}

/** Every change of a request's state, with how long each lasted. */
export const Timeline = ({ events }) => html`<ol class="timeline">
  ${events.map((one, place) => {
    const next = events[place + 1];
    return html`<li>
      <${State} of=${one.state} />
      <span class="hint">${(one.reason ?? "").replaceAll("_", " ")}</span>
      <span class="hint number"><${Exact} at=${one.at} />${next ? ` · ${span(Date.parse(next.at) - Date.parse(one.at))}` : ""}</span>
    </li>`;
  })}
</ol>`;
const Exact = ({ at }) => html`<time datetime=${at}>${clock(at)}</time>`;

/** Whether an address may stand in a link, a picture or a player. */
const isMedia = (address) => typeof address === "string" && /^https?:\/\//i.test(address);

/** A player, which is given its video once the page around it is drawn. */
function Player({ src }) {
  const [given, setGiven] = useState(null);
  const [fails, setFails] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setGiven(src), 30);
    return () => clearTimeout(timer);
  }, [src]);
  return html`<video src=${given} controls preload="metadata" playsinline onError=${() => setFails(true)}></video>
    ${fails && html`<p class="notice warn">It cannot be played here. <a href=${src} target="_blank" rel="noopener noreferrer">Open the file</a></p>`}`;
}

/** What an output holds to look at: videos that play, pictures, sounds. */
export function Media({ output }) {
  if (!output || typeof output !== "object") return null;
  const found = [];
  for (const [name, value] of Object.entries(output)) {
    for (const one of Array.isArray(value) ? value : [value]) if (isMedia(one)) found.push([name.replace(/s$/, ""), one]);
  }
  if (!found.length) return null;
  return html`<div class="media">
    ${found.map(([kind, address]) =>
      kind === "video"
        ? html`<${Player} src=${address} />`
        : kind === "image"
          ? html`<img src=${address} alt="Output" loading="lazy" />`
          : html`<a href=${address} target="_blank" rel="noopener noreferrer">${address}</a>`,
    )}
  </div>`;
}

/**
 * The copies of an output in the gateway's own store, or why there is none. `linkOf` makes the link at which
 * one is played, when somebody wants to see it.
 */
export const Copies = ({ assets, linkOf }) =>
  assets?.length > 0 &&
  html`<section><h3>Stored copies</h3><ul class="copies">
    ${assets.map((one) => html`<${StoredCopy} key=${one.asset_id} one=${one} linkOf=${linkOf} />`)}
  </ul></section>`;

function StoredCopy({ one, linkOf }) {
  const [seen, setSeen] = useState({ link: "", error: null });
  const show = () => linkOf(one).then((link) => setSeen({ link, error: null }), (error) => setSeen({ link: "", error }));
  const stored = one.state === "stored";
  return html`<li>
    <div class="actions">
      <code>${one.pointer}</code> <${State} of=${one.state} />
      <span class="hint">${[one.media_type, one.size_bytes !== null && bytes(one.size_bytes), !stored && one.error].filter(Boolean).join(" · ")}</span>
      ${stored && !seen.link && html`<button class="button small" onClick=${show}>Show</button>`}
      ${stored && seen.link && html`<a class="button small" href=${seen.link} download target="_blank" rel="noopener noreferrer">Download</a>`}
    </div>
    ${one.next_attempt_at && one.attempts > 0 && html`<p class="hint">Copied again <${Time} at=${one.next_attempt_at} rel=${true} /></p>`}
    ${stored && one.expires_at && html`<p class="hint">Kept until <${Time} at=${one.expires_at} /></p>`}
    ${seen.error && html`<${Trouble} error=${seen.error} again=${show} />`}
    ${stored && seen.link && html`<${Media} output=${{ [one.media_type.split("/")[0]]: seen.link }} />`}
  </li>`;
}

/** A check that is made when somebody asks for it: `faults` gives what it found wrong. */
export function Verify({ label, path, faults }) {
  const [shown, setShown] = useState(null);
  const begin = () => {
    setShown({});
    call(path).then((data) => setShown({ data }), (error) => setShown({ error }));
  };
  const { data, error } = shown ?? {};
  const wrong = data ? faults(data) : [];
  const known = Object.entries(data ?? {}).filter(([, value]) => typeof value === "number");
  return html`<button class="button small" onClick=${begin}>${label}</button>
    ${shown && html`<${Dialog} title=${label} onClose=${() => setShown(null)}>
      ${error ? html`<${Trouble} error=${error} again=${begin} />` : !data ? html`<p role="status">It is read from the beginning. That may take long; closing this stops nothing.</p>` : ""}
      ${data && html`<p class=${wrong.length ? "notice bad" : "calm"}><strong>${wrong.length ? `${count(wrong.length)} wrong` : "Nothing is wrong."}</strong></p>
        ${wrong.length > 0 && html`<${Json} of=${wrong} />`}
        <${Facts} of=${known.map(([name, value]) => [name.replace("_microcredits", "").replaceAll("_", " "), name.endsWith("microcredits") ? credits(value) : count(value)])} />`}
      <div class="actions"><button class="button" onClick=${() => setShown(null)}>Close</button></div>
    <//>`}`;
}

/** Everything that is stored of a client token, with its newest requests and refusals. */
export function TokenDialog({ path, onClose }) {
  const token = useCall((signal) => call(path, { signal }), [path]);
  return html`<${Dialog} title="Client token" onClose=${onClose}>
    <${Shown} of=${token}>${(one) => html`
      <${Facts} of=${[
        ["Token", html`<code>${one.token_id}</code>`],
        ["State", html`<${State} of=${one.state} />`],
        ["End user", one.end_user],
        ["Key", html`<code>${one.kid}</code>`],
        ["Scopes", one.scopes.join(", ")],
        ["Models", one.models?.join(", ")],
        ["Origins", one.origins?.join(", ")],
        ["Sees", one.request_id ?? one.visibility],
        ["Made", html`<${Time} at=${one.created_at} />`],
        ["Expires", html`<${Time} at=${one.expires_at} />`],
        ["Requests", `${count(one.usage.held_generations + one.usage.spent_generations)}${one.max_generations === null ? "" : ` of ${count(one.max_generations)}`}`],
        ["Credits", `${credits(one.usage.held_microcredits + one.usage.spent_microcredits)}${one.max_microcredits === null ? "" : ` of ${credits(one.max_microcredits)}`}`],
      ]} />
      ${one.bounds && html`<h3>Bounds of inputs</h3><${Json} of=${one.bounds} />`}
      ${one.newest_requests.length > 0 && html`<h3>Newest requests</h3><ul>${one.newest_requests.map((id) => html`<li><a href=${to("requests", { open: id })}>${id}</a></li>`)}</ul>`}
      ${one.newest_refusals.length > 0 && html`<h3>Newest refusals</h3><ul>${one.newest_refusals.map((each) => html`<li><${Time} at=${each.at} /> <code>${each.code}</code> ${each.detail}</li>`)}</ul>`}
    `}<//>
    <div class="actions"><button class="button" onClick=${onClose}>Close</button></div>
  <//>`;
}

/** Closed months, with the addresses of their files. */
export const Months = ({ of, file, query = {} }) => html`<${List} title="Closed months" caption="Statements" of=${of} rows=${(data) => data.statements} empty="No month is closed yet: one closes soon after it has ended." query=${query} keyOf=${(one) => one.month} columns=${[
  ["Month", "month", " tight"],
  ...["Opening", "Held", "Refunded", "Added", "Adjusted", "Closing"].map((one) => [one, `${one.toLowerCase()}_microcredits`, "credits"]),
  ["", (one) => html`<a class="button small" href=${file(one, "csv")} download>CSV</a> <a class="button small" href=${file(one, "pdf")} download>PDF</a>`, "right"],
]} />`;

/** Entries of the ledger; with `both` they are of both modes. */
export const Entries = ({ both = false, ...more }) => html`<${List} caption="Ledger" rows=${(data) => data.entries} empty="Nothing was entered." keyOf=${(one) => one.entry} ...${more} columns=${[
  ["At", "at", "time"],
  ["Entry", "kind"],
  ["Credits", (one) => html`<span class=${one.microcredits < 0 ? "below" : ""}>${credits(one.microcredits)}</span>`, "right"],
  ...(both ? [["Mode", "mode", "wide"]] : []),
  ["Request", (one) => one.request_id && html`<a href=${to("requests", { q: both ? one.request_id : "", open: one.request_id })}>${one.request_id.slice(-12)}</a>`],
  ["Reference", "reference"],
  ["Note", "note"],
]} />`;

const REFUSED = {
  quota_exceeded: "A limit for the moment: it passes by waiting. The limits show which.",
  quota_exhausted: "A limit is used up, and waiting does not help: raise it or top up. The limits show which.",
};
/** Why calls were refused; of limits it says what the code means. */
export const Refusal = ({ code }) => html`<code>${code}</code>${REFUSED[code] ? html`<span class="under hint">${REFUSED[code]}</span>` : ""}`;

/** Tabs whose choice stands in the address. */
export const Tabs = ({ query, tabs, name = "tab" }) => html`<nav class="tabs" aria-label="Parts">
  ${tabs.map(([key, title], place) => {
    const current = (query[name] ?? tabs[0][0]) === key;
    return html`<a
      href="#"
      aria-current=${current ? "page" : null}
      onClick=${(event) => {
        event.preventDefault();
        refine({ [name]: place ? key : "", cursor: "" }, false);
      }}
      >${title}</a
    >`;
  })}
</nav>`;

export const SCOPES = ["submit", "read", "tokens:create", "usage:read", "webhooks:read", "webhooks:write", "account:manage"];
export const DAY_S = 86_400;
const listed = (text) => text.split(/[\s,]+/).filter(Boolean);

const MODELS = { name: "models", label: "Only these models", kind: "area", rows: "2", hint: "Their ids, one in each line." };

/** The fields of a new key; `scopes` are those that it may have. */
export const newKeyFields = (scopes) => [
  { name: "name", label: "Name", hint: "For people, such as what uses it." },
  { name: "scopes", label: "Scopes", kind: "checks", options: scopes, value: scopes.filter((one) => one === "submit" || one === "read") },
  { ...MODELS, hint: "Their ids, one in each line. Empty: all." },
  { name: "days", label: "Days until it expires", kind: "number", min: "1", hint: "Empty: never." },
];
/** The terms of a new key, and for how many seconds it lives. @param {any} given */
export const newKey = ({ name, scopes, models, days }) => ({ name, scopes, models: listed(models).length ? listed(models) : null, lives_s: days ? Number(days) * DAY_S : null });

/** The fields that narrow a key. */
export const narrowFields = (one) => [
  { name: "name", label: "Name", value: one.name },
  { name: "scopes", label: "Scopes that stay", kind: "checks", options: one.scopes, value: one.scopes },
  { ...MODELS, value: (one.models ?? []).join("\n"), hint: "Their ids, one in each line. Empty: it stays." },
  { name: "days", label: "Days until it expires", kind: "number", min: "0", step: "any", hint: "Only sooner than now. Empty: it stays." },
];
/** What was changed of a key's terms; none where nothing was. @param {any} given */
export function narrowed({ name, scopes, models, days }, one) {
  const terms = {};
  if (name !== one.name) terms.name = name;
  if (scopes.length !== one.scopes.length) terms.scopes = scopes;
  if (listed(models).length && listed(models).join() !== (one.models ?? []).join()) terms.models = listed(models);
  if (days) terms.lives_s = Math.round(Number(days) * DAY_S);
  return terms;
}
