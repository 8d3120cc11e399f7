// Webhooks: endpoints, the log of deliveries with their attempts, sending again and replays. For both pages:
// operators see all tenants, by the admin API; a person their own, by /v1.

import { html, useState } from "./vendor.js";
import { call } from "./calls.js";
import { Change, Copy, Facts, Json, List, Page, SecretDialog, Shown, State, Table, Time, useCall } from "./kit.js";
import { Filter, Filters, ModePick, StateFilter, Tabs } from "./parts.js";
import { count, modeOf, momentIn, refine, span, to, useSession, when } from "./state.js";

const TABS = [["deliveries", "Deliveries"], ["endpoints", "Endpoints"], ["replays", "Replays"]];
const STATES = ["pending", "delivering", "delivered", "failed", "cancelled"];

/** Where each audience finds things, and what it must say with a change. */
const OF_OPERATORS = { endpoints: "admin/v1/webhook-endpoints", deliveries: "admin/v1/webhook-deliveries", replays: "admin/v1/webhook-replays", reason: true, scope: "operate" };
const OF_TENANTS = { endpoints: "v1/webhooks/endpoints", deliveries: "v1/webhooks/deliveries", replays: "v1/webhooks/replays", reason: false, scope: "webhooks:write" };

export const OperatorsWebhooks = ({ place }) => html`<${Webhooks} query=${place.query} at=${OF_OPERATORS} />`;
export function TenantsWebhooks({ place }) {
  const { can } = useSession();
  if (can("webhooks:read")) return html`<${Webhooks} query=${place.query} at=${OF_TENANTS} />`;
  return html`<${Page} title="Webhooks"><div class="notice warn"><strong>Not for this session.</strong> Webhooks need a key or link with the scope <code>webhooks:read</code>.</div><//>`;
}

function Webhooks({ query, at }) {
  const tab = query.tab ?? "deliveries";
  const Tab = { deliveries: Deliveries, endpoints: Endpoints, replays: Replays }[tab] ?? Deliveries;
  return html`<${Page} title="Webhooks" lead="What was sent to whom, and whether it arrived" actions=${at.reason && html`<${ModePick} query=${query} />`}>
    <${Tabs} query=${query} tabs=${TABS} />
    <${Tab} key=${tab} query=${query} at=${at} />
  <//>`;
}

const said = (at, body, reason) => (at.reason ? { ...body, reason } : body);
const ofMode = (at, query) => (at.reason ? { mode: modeOf(query), tenant: query.tenant } : {});

function Deliveries({ query, at }) {
  const asked = { ...ofMode(at, query), state: query.state, type: query.type, request_id: query.request_id, endpoint_id: query.endpoint_id, replay_id: query.replay_id };
  const found = useCall((signal) => call(at.deliveries, { query: { ...asked, limit: 50, cursor: query.cursor }, signal }), [asked, query.cursor], { live: query.cursor ? "" : "webhooks" });
  return html`
    <${Filters} query=${query}>
      <${Filter} query=${query} name="request_id" label="Request id" search=${true} grow=${true} placeholder="Search  /" />
      ${at.reason && html`<${Filter} query=${query} name="tenant" label="Tenant" />`}
      <${StateFilter} query=${query} first=${true} states=${STATES} />
      <${Filter} query=${query} name="type" label="Event" />
      <${Filter} query=${query} name="endpoint_id" label="Endpoint" />
    <//>
    <div class="split">
      <${List} caption="Deliveries" of=${found} drawn=${8} rows=${(data) => data.deliveries} empty="Nothing was sent that matches." query=${query} keyOf=${(one) => one.delivery_id} chosen=${query.open} open=${(one) => to("webhooks", { ...query, open: one.delivery_id })} columns=${[
                ["Made", "created_at", "time"],
                ...(at.reason ? [["Tenant", "tenant"]] : []),
                ["Event", "type", "code"],
                ["State", (one) => html`<${State} of=${stateOf(one)} />`],
                ["Cause", "cause", "wide spare"],
                ["Attempts", "attempts", "count spare"],
                ["Answer", (one) => one.last_status ?? one.last_error ?? ""],
                ["Next", "next_attempt_at", "ago spare"],
              ]} />
      ${query.open && html`<${Delivery} key=${query.open} id=${query.open} at=${at} close=${to("webhooks", { ...query, open: "" })} onChange=${found.reload} />`}
    </div>
  `;
}

/** A delivery that failed and will be tried again is pending to the API; whoever looks wants to know why. */
const stateOf = (one) => (one.state === "pending" && one.attempts ? "retrying" : one.state);

/** An endpoint's address, where it is still there, above its id. */
function EndpointOf({ id, at }) {
  const found = useCall((signal) => call(`${at.endpoints}/${id}`, { signal }), [id]);
  return html`${found.data?.url} <code class="under">${id}</code>`;
}

function Delivery({ id, at, close, onChange }) {
  const found = useCall((signal) => call(`${at.deliveries}/${encodeURIComponent(id)}`, { signal }), [id], { live: "webhooks" });
  return html`<aside class="panel" aria-label="The delivery">
    <div class="panel-head"><div><h2>Delivery</h2><code>${id}</code></div><${Copy} text=${id} /><a class="button small" data-close href=${close}>Close</a></div>
    <${Shown} of=${found} rows=${6}>
      ${(one) => html`
        <div class="actions"><${State} of=${stateOf(one)} />
          <${Change} label="Send again" scope=${at.scope} title="Send this event again" text="A new delivery of the same event, to the same endpoint." needsReason=${at.reason} verb="Send" 
            onDo=${async ({ reason }) => {
              const { delivery_id } = await call(`${at.deliveries}/${id}/resend`, { body: said(at, {}, reason) });
              onChange();
              refine({ open: delivery_id });
            }} /></div>
        <${Facts} of=${[["Event", one.type], ["Request", one.request_id && html`<a href=${to("requests", { open: one.request_id })}>${one.request_id}</a>`], ["Message", html`<code>${one.message_id}</code>`], ["Endpoint", html`<${EndpointOf} id=${one.endpoint_id} at=${at} />`], ["Cause", one.cause], ["Replay", one.replay_id], ["Made", html`<${Time} at=${one.created_at} />`], ["Ended", one.finished_at && html`<${Time} at=${one.finished_at} />`], ["Next attempt", one.next_attempt_at && html`<${Time} at=${one.next_attempt_at} rel=${true} />`]]} />
        <section><h3>Attempts</h3>
          ${one.attempt_log.length
            ? html`<${Table} caption="Attempts" rows=${one.attempt_log} keyOf=${(each) => each.number} columns=${[
                ["No.", "number", " right"],
                ["At", "at", "time"],
                ["Took", (each) => span(each.took_ms), "right"],
                ["Answer", (each) => html`${each.status ?? ""} ${each.error ? html`<code>${each.error}</code>` : ""}`],
              ]} />`
            : html`<p class="hint">It was not tried yet.</p>`}
          ${one.attempt_log.filter((each) => each.answer).slice(-1).map((each) => html`<h3>The last answer</h3><pre class="json" tabindex="0">${each.answer}</pre>`)}</section>
        ${one.payload && html`<section><h3>Body</h3><${Json} of=${one.payload} /></section>`}
      `}
    <//>
  </aside>`;
}

const EVENTS_HINT = "Types of events with spaces between, such as request.completed. Empty: all; none: only those of requests that name it.";
const eventsIn = (text) => (text.trim() === "none" ? [] : text.trim() ? text.trim().split(/[\s,]+/) : null);
const VENDOR_LINKS = [["", "no"], ["1", "yes"]];
/** What an endpoint is; `one` is how it stands, if there is one already. */
const endpointFields = (one) => [
  { name: "url", label: "Address", hint: "An https address that answers with a 2xx.", required: true, value: one?.url },
  { name: "description", label: "Note", value: one?.description },
  { name: "events", label: "Events", hint: EVENTS_HINT, value: one?.events?.length === 0 ? "none" : one?.events?.join(" ") },
  { name: "vendor_links", label: "Events name RunComfy's own links", kind: "select", value: one?.vendor_links ? "1" : "", options: VENDOR_LINKS },
];
/** @param {any} given */
const endpointOf = ({ url, description, events, vendor_links }) => ({ url: url.trim(), description, events: eventsIn(events), vendor_links: vendor_links === "1" });

function Endpoints({ query, at }) {
  const [secret, setSecret] = useState(null);
  const { can } = useSession();
  const asked = { ...ofMode(at, query), limit: 50, cursor: query.cursor };
  const found = useCall((signal) => call(at.endpoints, { query: asked, signal }), [asked], { live: "webhooks" });
  const change = async (one, verb, body, reason) => {
    const after = await call(`${at.endpoints}/${one.endpoint_id}/${verb}`, { body: said(at, body, reason) });
    if (verb === "rotate") setSecret(after);
    found.reload();
  };
  const fields = [
    ...(at.reason ? [{ name: "tenant", label: "Tenant", value: query.tenant ?? "", required: true }] : []),
    ...endpointFields(null),
    { name: "signature", label: "Signature", kind: "select", value: "v1", options: [["v1", "v1: a shared secret"], ["v1a", "v1a: a public key"]] },
  ];
  return html`<${List} title="Endpoints" more=${html`<${Change} label="New endpoint" scope=${at.scope} verb="Create" needsReason=${at.reason} fields=${fields} 
        onDo=${async ({ tenant, signature, reason, ...given }) => {
          const body = { ...endpointOf(given), signature, ...(at.reason ? { tenant, mode: modeOf(query) } : {}) };
          setSecret(await call(at.endpoints, { body: said(at, body, reason) }));
          found.reload();
        }} />`} of=${found} rows=${(data) => data.endpoints} empty="There is no endpoint." query=${query} keyOf=${(one) => one.endpoint_id} open=${(one) => to("webhooks", { mode: query.mode, endpoint_id: one.endpoint_id })} columns=${[
        ["Address", (one) => html`${one.url}${one.description ? html`<span class="under hint">${one.description}</span>` : ""}`],
        ...(at.reason ? [["Tenant", "tenant"]] : []),
        ["State", "state", "state"],
        ["Health", (one) => (one.health.failing_since ? html`failing since <${Time} at=${one.health.failing_since} />` : one.health.state_reason ?? "well")],
        ["Events", (one) => (one.events === null ? "all" : one.events.join(", ") || "only named ones"), "wide"],
        ["", (one) => can(at.scope) && html`<div class="actions">
          <${Change} label="Test" title="Send a test event" verb="Send" needsReason=${at.reason} onDo=${({ reason }) => change(one, "test", {}, reason)} />
          <${Change} label=${one.state === "enabled" ? "Pause" : "Enable"} title=${one.state === "enabled" ? "Pause this endpoint" : "Enable this endpoint"} text=${one.state === "enabled" ? "Nothing is sent to it." : "What failed meanwhile is not sent by itself: replay it."} verb=${one.state === "enabled" ? "Pause" : "Enable"} needsReason=${at.reason} onDo=${({ reason }) => change(one, one.state === "enabled" ? "pause" : "enable", {}, reason)} />
          <${Change} label="Edit" title="Edit this endpoint" verb="Save" needsReason=${at.reason} fields=${endpointFields(one)} onDo=${async ({ reason, ...given }) => {
            await call(`${at.endpoints}/${one.endpoint_id}`, { body: said(at, endpointOf(given), reason), put: true, tag: "*" });
            found.reload();
          }} />
          <${Change} label="Replay" title="Replay events" text="New deliveries of events of a time; each event keeps its id." needsReason=${at.reason} 
            fields=${[{ name: "since", label: "Since", kind: "datetime-local", required: true }, { name: "until", label: "Until", kind: "datetime-local", hint: "Empty: until now." }, { name: "which", label: "Which", kind: "select", value: "failed", options: [["failed", "those that were not delivered"], ["all", "all, also once more"]] }]}
            onDo=${({ since, until, which, reason }) => change(one, "replays", { since: momentIn(since), until: until ? momentIn(until) : null, only_failed: which === "failed" }, reason)} />
          <${Change} label="Rotate" title="Rotate its secret" text="Messages are signed with both for a while." needsReason=${at.reason} fields=${[{ name: "hours", label: "Hours that both count", kind: "number", value: "24", min: "0", step: "any" }]}
            onDo=${({ hours, reason }) => change(one, "rotate", { grace_s: Math.round(Number(hours) * 3600) }, reason)} />
          ${one.previous_secret_ends_at && html`<${Change} label="End the old secret" title="Sign with the present secret alone" text=${`Else the old one counts until ${when(one.previous_secret_ends_at)}.`} needsReason=${at.reason} onDo=${({ reason }) => change(one, "revoke-previous", {}, reason)} />`}
          <${Change} label="Delete" danger=${true} title="Delete this endpoint" text=${one.url} needsReason=${at.reason} onDo=${({ reason }) => change(one, "delete", {}, reason)} />
        </div>`, "right"],
      ]}>
    ${secret?.secret && html`<${SecretDialog} title="The secret" text="Whoever receives the events checks their signatures with it." secret=${secret.secret} onClose=${() => setSecret(null)} />`}
  <//>`;
}

function Replays({ query, at }) {
  const found = useCall((signal) => call(at.replays, { query: { tenant: at.reason ? query.tenant : "", limit: 50, cursor: query.cursor }, signal }), [query.tenant, query.cursor], { live: "webhooks" });
  return html`<${List} title="Replays" of=${found} rows=${(data) => data.replays} empty="Nothing was replayed." query=${query} keyOf=${(one) => one.replay_id} open=${(one) => to("webhooks", { mode: query.mode, replay_id: one.replay_id })} columns=${[
        ["Began", "created_at", "time"],
        ...(at.reason ? [["Tenant", "tenant"]] : []),
        ["State", "state", "state"],
        ["Of", (one) => html`<${Time} at=${one.since} /> to <${Time} at=${one.until} />`, "tight"],
        ["Which", (one) => (one.only_failed ? "not delivered" : "all")],
        ["Looked at", "deliveries_seen", "count"],
        ["Made", "deliveries_made", "count"],
        ["", (one) => one.state === "running" && html`<${Change} label="Cancel" scope=${at.scope} title="Cancel this replay" verb="Cancel it" needsReason=${at.reason} onDo=${async ({ reason }) => {
          await call(`${at.replays}/${one.replay_id}/cancel`, { body: said(at, {}, reason) });
          found.reload();
        }} />`, "right"],
      ]} />`;
}
