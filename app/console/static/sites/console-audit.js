// Who changed what, and why; and whether the chain of entries is whole.

import { html } from "./vendor.js";
import { call } from "./calls.js";
import { Facts, Json, List, Page, Time, Trouble, useCall } from "./kit.js";
import { Filter, Filters, Verify } from "./parts.js";
import { count, momentIn, to } from "./state.js";

const FILTERS = ["tenant", "actor", "action", "subject"];

export function Audit({ place }) {
  const { query } = place;
  const asked = { ...Object.fromEntries(FILTERS.map((name) => [name, query[name]])), created_after: momentIn(query.from), created_before: momentIn(query.until) };
  const found = useCall((signal) => call("admin/v1/audit", { query: { ...asked, limit: 50, cursor: query.cursor }, signal }), [asked, query.cursor]);
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
                ["Who", (one) => `${one.actor.kind.replaceAll("_", " ")} ${one.actor.name}`],
                ["Subject", (one) => `${one.subject.kind.replaceAll("_", " ")} ${one.subject.id}`],
                ["Tenant", "tenant", "spare"],
                ["Reason", "reason", "spare"],
                ["No.", "seq", "count spare"],
              ]} />
      ${opened && html`<aside class="panel" aria-label="The entry">
        <div class="panel-head"><h2>Entry ${opened.seq}</h2><a class="button small" data-close href=${to("audit", { ...query, open: "" })}>Close</a></div>
        <${Facts} of=${[["Action", opened.action], ["At", html`<${Time} at=${opened.at} />`], ["Who", `${opened.actor.kind} ${opened.actor.name}`], ["Subject", `${opened.subject.kind} ${opened.subject.id}`], ["Tenant", opened.tenant], ["Reason", opened.reason], ["Trace", opened.trace_id], ["Hash", html`<code>${opened.hash}</code>`]]} />
        <section><h3>Before</h3><${Json} of=${opened.before} /></section>
        <section><h3>After</h3><${Json} of=${opened.after} /></section>
      </aside>`}
    </div>
  <//>`;
}

/** Whether the chain is whole, as far as its head: asked for when somebody wants to know. */
function Verified() {
  const head = useCall((signal) => call("admin/v1/audit/head", { signal }), []);
  if (head.error) return html`<${Trouble} error=${head.error} />`;
  if (!head.data) return "";
  return html`<span class="hint">${count(head.data.size ?? head.data.seq)} entries in the chain</span>
    <${Verify} label="Verify the chain" path="admin/v1/audit/verification" faults=${(one) => (one.first_break ? [one.first_break] : [])} />`;
}
