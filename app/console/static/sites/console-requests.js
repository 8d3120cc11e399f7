// Requests of all tenants: searched and filtered by the address, live, with a panel that tells everything of one.

import { html } from "./vendor.js";
import { call } from "./calls.js";
import { Change, Copy, Facts, Json, List, Page, Shown, State, Table, Time, Trouble, useCall } from "./kit.js";
import { Copies, Filter, Filters, Media, ModePick, StateFilter, Timeline } from "./parts.js";
import { credits, modeIn, modeOf, momentIn, refine, span, to } from "./state.js";

const FILTERS = ["tenant", "model_id", "state", "error_code", "end_user", "kid", "token_id", "address", "price_version", "upstream_request_id", "request_id"];
const SIZE = 50;
const UUID = /^[0-9a-f]{8}-[0-9a-f-]{27}$/i;

export function Requests({ place }) {
  const { query } = place;
  const asked = Object.fromEntries(FILTERS.filter((name) => query[name]).map((name) => [name, query[name]]));
  if (query.mode !== "all") asked.mode = modeOf(query);
  if (query.q) asked[UUID.test(query.q) ? "request_id" : "upstream_request_id"] = query.q;
  if (query.q) delete asked.mode;
  if (query.from) asked.created_after = momentIn(query.from);
  if (query.until) asked.created_before = momentIn(query.until);
  const found = useCall(
    (signal) => call("admin/v1/requests", { query: { ...asked, limit: SIZE, cursor: query.cursor }, signal }),
    [asked, query.cursor],
    { live: query.cursor || query.hold ? "" : "requests" },
  );
  const here = (open) => to("requests", { ...query, open });
  return html`<${Page}
    title="Requests"
    lead=${query.cursor ? "An earlier page" : query.hold ? "Not live" : "Live, newest first"}
    actions=${html`<${ModePick} query=${query} /><button class="button small" aria-pressed=${query.hold ? "false" : "true"} onClick=${() => refine({ hold: query.hold ? "" : "1" })}>${query.hold ? "Go live" : "Stop updates"}</button>`}
  >
    <${Filters} query=${query}>
      <${Filter} query=${query} name="q" label="Request id, or RunComfy's" search=${true} grow=${true} placeholder="Search  /" />
      <${Filter} query=${query} name="tenant" label="Tenant" first=${true} />
      <${StateFilter} query=${query} />
      <${Filter} query=${query} name="model_id" label="Model" />
      <${Filter} query=${query} name="error_code" label="Error code" />
      <${Filter} query=${query} name="end_user" label="End user" />
      <${Filter} query=${query} name="kid" label="Key" />
      <${Filter} query=${query} name="from" label="From" type="datetime-local" />
      <${Filter} query=${query} name="until" label="Until" type="datetime-local" />
    <//>
    <div class="split">
      <${List} caption="Requests" of=${found} drawn=${10} rows=${(data) => data.requests} empty=${html`<p>No request matches. Calls that were refused are no requests: <a href=${to("tenants", { tab: "refused", tenant: query.tenant, mode: query.mode === "all" ? "" : query.mode })}>who is refused</a>.</p><p><a href=${to("requests")}>Without filters</a></p>`}
        query=${query} keyOf=${(one) => one.request_id} chosen=${query.open} open=${(one) => here(one.request_id)}
        columns=${[
          ["Created", "created_at", "time"],
          ["Tenant", "tenant"],
          ["State", "state", "state"],
          ["Model", "model_id"],
          ["Error", "error_code"],
          ["Price", (one) => credits(one.repriced_microcredits ?? one.price_microcredits), "right spare"],
          ["End user", "end_user", "spare"],
        ]} />
      ${query.open && html`<${Panel} key=${query.open} id=${query.open} close=${here("")} onChange=${found.reload} />`}
    </div>
  <//>`;
}

function Panel({ id, close, onChange }) {
  const found = useCall((signal) => call(`admin/v1/requests/${encodeURIComponent(id)}`, { signal }), [id], { live: "requests assets" });
  const entries = useCall((signal) => call("admin/v1/ledger", { query: { request_id: id }, signal }), [id]);
  return html`<aside class="panel" aria-label="The request">
    <div class="panel-head">
      <div><h2>Request</h2><code>${id}</code></div>
      <${Copy} text=${id} />
      <a class="button small" data-close href=${close}>Close</a>
    </div>
    <${Shown} of=${found} rows=${8}>${(one) => html`<${Request} one=${one} entries=${entries} reload=${() => (found.reload(), onChange())} />`}<//>
  </aside>`;
}

function Request({ one, entries, reload }) {
  const first = Date.parse(one.created_at);
  return html`
    <div class="actions">
      <${State} of=${one.state} /> <span class="hint">after ${span(Date.parse(one.changed_at) - first)}</span>
      ${one.state === "unknown" && html`<${Resolve} one=${one} onDone=${reload} />`}
    </div>
    ${one.error !== null && one.error !== undefined && html`<div class="notice bad"><strong>${one.error_code ?? "It failed."}</strong><${Json} of=${one.error} /></div>`}
    <${Media} output=${one.output} />
    <${Copies} assets=${one.assets} linkOf=${async (copy) => copy.link} />
    <section><h3>Timeline</h3><${Timeline} events=${one.events} /></section>
    <${Facts}
      of=${[
        ["Tenant", html`<a href=${to(["tenants", one.tenant])}>${one.tenant}</a>`],
        ["Model", one.model_id],
        ["Mode", one.mode],
        ["End user", one.end_user && html`<a href=${to("requests", { tenant: one.tenant, end_user: one.end_user, mode: modeIn(one.mode) })}>${one.end_user}</a>`],
        ["Key", html`<code>${one.kid}</code>`],
        ["Client token", one.token_id && html`<code>${one.token_id}</code>`],
        ["From", one.caller_address],
        ["Program", one.user_agent],
        ["Credential", one.credential],
        ["RunComfy's id", one.upstream_request_id && html`<code>${one.upstream_request_id}</code>`],
        ["Idempotency-Key", one.idempotency_key && html`<code>${one.idempotency_key}</code>`],
        ["Last asked", one.checked_at && html`<${Time} at=${one.checked_at} rel=${true} />`],
        ["Webhooks", html`<a href=${to("webhooks", { request_id: one.request_id, mode: modeIn(one.mode) })}>what was sent of it</a>`],
        ["Trace", html`<code>${one.trace_id}</code>`],
      ]}
    />
    <section>
      <h3>Money</h3>
      <${Facts}
        of=${[
          ["Price", `${credits(one.price_microcredits)} credits`],
          ["Corrected to", one.repriced_microcredits !== null ? `${credits(one.repriced_microcredits)} credits` : ""],
          ["Price version", one.price_version],
          ["Its hold", one.charge && html`<${State} of=${one.charge} />`],
          ["RunComfy's cost", one.upstream_cost_usd && `$${one.upstream_cost_usd}`],
          ["Seconds of output", one.output_seconds || ""],
        ]}
      />
      ${entries.error && html`<${Trouble} error=${entries.error} />`}
      ${entries.data?.entries.length > 0 &&
      html`<${Table} caption="Entries of the ledger" rows=${[...entries.data.entries].reverse()} keyOf=${(each) => each.entry} columns=${[
        ["Entry", "kind"],
        ["Credits", "microcredits", "credits"],
        ["At", "at", "time"],
      ]} />`}
    </section>
    <section><h3>Input</h3><${Json} of=${one.input} /></section>
    ${one.output !== null && html`<section><h3>Output</h3><${Json} of=${one.output} /></section>`}
    ${one.evidence !== null && html`<section><h3>Evidence and attempts</h3><${Json} of=${one.evidence} /></section>`}
  `;
}

/** An unknown request ends by the job that was found for it, or by whether RunComfy charged for it. */
const Resolve = ({ one, onDone }) => html`<${Change} label="Resolve" scope="money" title="Resolve this request"
    text="Look for its job at RunComfy first. With the job's id it is followed again; otherwise it ends as lost."
    danger=${true}
    fields=${[
      { name: "how", label: "What was found", kind: "select", value: "job", options: [["job", "A job at RunComfy"], ["charged", "No job, but RunComfy charged for it"], ["free", "No job, and no charge"]] },
      { name: "job", label: "RunComfy's id of the job", hint: "Only where a job was found." },
    ]} 
    onDo=${async ({ how, job, reason }) => {
      const body = how === "job" ? { upstream_request_id: job.trim(), reason } : { charged: how === "charged", reason };
      await call(`admin/v1/requests/${one.request_id}/resolve`, { body });
      onDone();
    }} />`;
