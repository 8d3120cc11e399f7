// Whether the gateway is well: doctor's checks, its version, and who may sign in here; and the audit log: who changed what.

import { html, useState } from "./vendor.js";
import { call } from "./calls.js";
import { Card, Change, Facts, Json, List, Page, Pill, SecretDialog, State, tagOf, Time, Trouble, useCall } from "./kit.js";
import { Filter, Filters, Verify } from "./parts.js";
import { count, credits, momentIn, span, to, useSession, when } from "./state.js";

const DAY_MS = 86_400_000;

export function System() {
  const { me, can } = useSession();
  const checks = useCall((signal) => call("admin/v1/checks", { signal }), []);
  const bad = checks.data?.findings.filter((one) => one.level === "bad").length;
  return html`<${Page} title="System" lead=${`Reelgate ${me.version}`} actions=${html`<button class="button small" onClick=${checks.reload}>Check again</button>`}>
    <${List} title="Checks" more=${checks.data ? (bad ? `${bad} bad` : "nothing is bad") : ""} of=${checks} drawn=${8} rows=${(data) => data.findings} keyOf=${(one) => one.name} columns=${[
          ["Check", "name"],
          ["", "level", "state"],
          ["Finding", (one) => one.finding.replace(/(\d+) s\b/g, (_, s) => span(s * 1000)), "whole"],
        ]} />
    <${Card} title="This session">
      <${Facts} of=${[["Admin key", me.name], ["Kid", html`<code>${me.kid}</code>`], ["Scopes", me.scopes.join(", ")], ["Ends", html`<${Time} at=${me.expires_at} />`], ["Or when idle for", `${Math.round(me.idle_s / 60)} min`], ["The gateway's address", me.base_url]]} />
    <//>
    <${Processes} />
    <${Card} title="Whether the books are right" more=${html`<${Change} label="Close months" scope="money" title="Close every month that has ended" text="Servers do it by themselves, soon after a month has ended." onDo=${({ reason }) => call("admin/v1/statements/close", { body: { reason } })} />`}>
      <div class="actions">${VERIFIED.map(([label, path, faults]) => html`<${Verify} label=${label} path=${path} faults=${faults} />`)}</div>
      <p class="hint">Each reads everything anew, beside the running servers.</p>
    <//>
    ${can("root") && html`<${AdminKeys} />`}
    <${Settings} />
  <//>`;
}

const VERIFIED = [
  ["Verify the ledger", "admin/v1/ledger/verification", (one) => one.findings],
  ["Verify statements", "admin/v1/statements/verification", (one) => one.differences],
  ["Verify the audit log", "admin/v1/audit/verification", (one) => (one.first_break ? [one.first_break] : [])],
  ["Verify files", "admin/v1/files/verification", (one) => one.faults],
];

/** Which servers and workers run, and of which version. */
function Processes() {
  const found = useCall((signal) => call("admin/v1/processes", { signal }), [], { live: "processes" });
  return html`<${List} title="Servers and workers" of=${found} drawn=${2} rows=${(data) => data.processes} empty="None was seen within the last minute." keyOf=${(one) => `${one.host} ${one.pid}`} columns=${[
        ["Role", "role"],
        ["Host", (one) => `${one.host}, ${one.pid}`],
        ["Version", "version"],
        ["Schema", "schema"],
        ["Since", "started_at", "time"],
        ["Settings read", (one) => html`<${Time} at=${one.settings_read_at} /> ${one.settings_fault ? html`<${Pill} tone="bad">${one.settings_fault}<//>` : ""}`, "tight"],
        ["Seen", "seen_at", "ago"],
      ]} />`;
}

/** The settings in effect: those that something sets, or all. */
function Settings() {
  const [all, setAll] = useState(false);
  const found = useCall((signal) => call("admin/v1/settings", { signal }), []);
  const text = (value) => (value === null || value === "" ? "–" : Array.isArray(value) ? value.join(", ") : String(value));
  return html`<${List} title="Settings of the server that answers" caption="Settings" more=${html`<button class="button small" onClick=${() => setAll(!all)}>${all ? "Only what is set" : "With defaults"}</button>`} of=${found} rows=${(data) => data.settings.filter((one) => all || one.origin !== "default")} keyOf=${(one) => one.setting} columns=${[
        ["Setting", "setting", "code"],
        ["Value", (one) => text(one.value), "whole"],
        ["Set by", "origin"],
        ["A reload takes it over", (one) => (one.reloads ? "yes" : "")],
      ]} />`;
}

function AdminKeys() {
  const keys = useCall((signal) => call("admin/v1/admin-keys", { signal }), []);
  const [secret, setSecret] = useState(null);
  return html`<${List} title="Admin keys" more=${html`<${Change} label="New admin key" scope="root" verb="Create" fields=${[
        { name: "name", label: "Whose it is", required: true },
        { name: "scopes", label: "Scopes", kind: "checks", options: ["read", "operate", "money", "root"], value: ["read"] },
        { name: "days", label: "Days until it expires", kind: "number", min: "1", value: "90", hint: "Empty: never." },
      ]} onDo=${async ({ name, scopes, days, reason }) => {
        setSecret(await call("admin/v1/admin-keys", { body: { name, scopes, reason, lifetime_ms: days ? Number(days) * DAY_MS : null } }));
        keys.reload();
      }} />`} of=${keys} rows=${(data) => data.admin_keys} keyOf=${(one) => one.kid} columns=${[
        ["Name", "name"],
        ["Kid", "kid", "code"],
        ["State", "state", "state"],
        ["Scopes", (one) => one.scopes.join(", ")],
        ["Last used", "last_used_at", "ago"],
        ["Expires", "expires_at", "time"],
        ["", (one) => one.state === "active" && html`<div class="actions"><${Change} label="Rotate" scope="root" title=${`Rotate ${one.name}`} text="A second admin key like it; the old one works on for a while." fields=${[{ name: "days", label: "Days that both work", kind: "number", value: "7", min: "0", step: "any" }]} onDo=${async ({ days, reason }) => {
          setSecret(await call(`admin/v1/admin-keys/${one.kid}/rotate`, { body: { overlap_ms: Math.round(Number(days) * DAY_MS), reason } }));
          keys.reload();
        }} /><${Change} label="Revoke" scope="root" danger=${true} title=${`Revoke ${one.name}`} text="With its sessions, on every server at once." onDo=${async ({ reason }) => {
          await call(`admin/v1/admin-keys/${one.kid}/revoke`, { body: { reason }, tag: tagOf(one) });
          keys.reload();
        }} /></div>`, "right"],
      ]}>
    ${secret && html`<${SecretDialog} title="The new admin key" text="Give it to whoever will use it." secret=${secret.key} onClose=${() => setSecret(null)} />`}
  <//>`;
}

// --- the audit log

const FILTERS = ["tenant", "actor", "action", "subject"];

export function Audit({ place }) {
  const { query } = place;
  const asked = { ...Object.fromEntries(FILTERS.map((name) => [name, query[name]])), created_after: momentIn(query.from), created_before: momentIn(query.until) };
  const found = useCall((signal) => call("admin/v1/audit", { query: { ...asked, limit: 50, cursor: query.cursor }, signal }), [asked, query.cursor]);
  const { me, can } = useSession();
  const keys = useCall((signal) => (can("root") ? call("admin/v1/admin-keys", { signal }) : Promise.resolve({ admin_keys: [me] })), []);
  const who = ({ kind, name }) => `${kind.replaceAll("_", " ")} ${(kind === "admin_key" && keys.data?.admin_keys.find((one) => one.kid === name)?.name) || name}`;
  const opened = found.data?.entries.find((one) => String(one.seq) === query.open);
  return html`<${Page} title="Audit" lead="Every change that an operator, a tenant or the gateway itself made" actions=${html`<${Verified} />`}>
    <${Filters} query=${query}>
      <${Filter} query=${query} name="subject" label="Subject's id" search=${true} grow=${true} placeholder="Search  /" />
      <${Filter} query=${query} name="tenant" label="Tenant" first=${true} />
      <${Filter} query=${query} name="actor" label="Actor" />
      <${Filter} query=${query} name="action" label="Action" />
      <${Filter} query=${query} name="from" label="From" type="datetime-local" />
      <${Filter} query=${query} name="until" label="Until" type="datetime-local" />
    <//>
    <div class="split">
      <${List} caption="Audit log" of=${found} drawn=${8} rows=${(data) => data.entries} empty="No entry matches." query=${query} keyOf=${(one) => String(one.seq)} chosen=${query.open} open=${(one) => to("audit", { ...query, open: one.seq })} columns=${[
                ["At", "at", "time"],
                ["Action", "action", "code"],
                ["Who", (one) => who(one.actor)],
                ["Subject", (one) => `${one.subject.kind.replaceAll("_", " ")} ${one.subject.id}`],
                ["Tenant", "tenant", "spare"],
                ["Reason", "reason", "spare"],
                ["No.", "seq", "count spare"],
              ]} />
      ${opened && html`<aside class="panel" aria-label="The entry">
        <div class="panel-head"><h2>Entry ${opened.seq}</h2><a class="button small" data-close href=${to("audit", { ...query, open: "" })}>Close</a></div>
        <${Facts} of=${[["Action", opened.action], ["At", html`<${Time} at=${opened.at} />`], ["Who", who(opened.actor)], ["Id of who", opened.actor.name], ["Subject", `${opened.subject.kind} ${opened.subject.id}`], ["Tenant", opened.tenant], ["Reason", opened.reason], ["Trace", opened.trace_id], ["Hash", html`<code>${opened.hash}</code>`]]} />
        <section><h3>Before</h3><${Json} of=${opened.before} told=${inWords} /></section>
        <section><h3>After</h3><${Json} of=${opened.after} told=${inWords} /></section>
      </aside>`}
    </div>
  <//>`;
}

/** Amounts and moments of an entry as people read them. @this {any} */
function inWords(name, value) {
  if (typeof value !== "number") return value;
  if (name.endsWith("microcredits") || (name === "amount" && /^credits/.test(this.metric))) return `${credits(value)} credits`;
  if (/_(at|until)_ms$|^until_ms$/.test(name)) return when(new Date(value).toISOString());
  return name.endsWith("_ms") ? span(value) : value;
}

/** Whether the chain is whole, as far as its head: asked for when somebody wants to know. */
function Verified() {
  const head = useCall((signal) => call("admin/v1/audit/head", { signal }), []);
  if (head.error) return html`<${Trouble} error=${head.error} />`;
  if (!head.data) return "";
  return html`<span class="hint">${count(head.data.size ?? head.data.seq)} entries in the chain</span>
    <${Verify} label="Verify the chain" path="admin/v1/audit/verification" faults=${(one) => (one.first_break ? [one.first_break] : [])} />`;
}
