// The tenant's account: how it stands now, what was used, closed months as files, every change of the balance, its keys,
// and its requests with their videos.

import { html, useState } from "./vendor.js";
import { address, call, CallError } from "./calls.js";
import { Card, Change, Copy, Facts, Json, LimitBar, List, Page, Pages, SecretDialog, Shown, State, Tile, Time, useCall } from "./kit.js";
import { Copies, DAY_S, Entries, Filter, Filters, Media, Months, narrowed, narrowFields, newKey, newKeyFields, Refusal, StateFilter, Timeline, TokenDialog } from "./parts.js";
import { count, credits, momentIn, refine, span, to, useSession } from "./state.js";
import { MEASURES, OUTCOMES, UsageView } from "./usage-view.js";

export function Account() {
  const { me, can } = useSession();
  const quota = useCall((signal) => call("v1/quota", { signal }), [], { live: "requests", pause: 5000 });
  const refused = useCall((signal) => call("v1/refusals", { signal }), [], { live: "refusals" });
  return html`<${Page}
    title=${me.tenant}
    lead=${quota.data ? html`${me.mode} keys, as of <${Time} at=${quota.data.at} />; days and months of ${quota.data.time_zone}` : `${me.mode} keys`}
  >
    ${!can("read") && html`<div class="notice warn">This session lacks the scope <code>read</code>: it sees neither limits nor requests.</div>`}
    <${Shown} of=${quota}>
      ${(data) => html`
        <${Sums} data=${data} />
        <${Card} title="Limits, and when they come back">
          ${data.limits.length
            ? html`<ul class="limits">${data.limits.map((one) => html`<${LimitBar} of=${one} />`)}</ul>`
            : html`<p class="hint">No limit applies.</p>`}
        <//>
      `}
    <//>
    <${List} title="Refused in the last day" caption="Refused calls" of=${refused} rows=${(data) => data.refusals} empty="No call was refused." keyOf=${(one) => `${one.kid} ${one.code}`} columns=${[
          ["Error", (one) => html`<${Refusal} code=${one.code} />`],
          ["Key", "kid", "code"],
          ["Calls", "count", "count"],
          ["Worst minute", "max_per_minute", "count"],
          ["First", "first_at", "time"],
          ["Last", "last_at", "time"],
        ]} />
  <//>`;
}

/** What stands on top: the balance, if there is one, and this month's sums of the whole tenant. */
function Sums({ data }) {
  const own = data.usage.filter((one) => one.holder === "tenant" && one.model_id === null);
  const month = own.find((one) => /^\d{4}-\d{2}$/.test(one.period));
  const day = own.find((one) => /^\d{4}-\d{2}-\d{2}$/.test(one.period));
  const balance = data.limits.find((one) => one.metric === "credits-total" && one.holder === "tenant" && one.model_id === null);
  return html`<div class="tiles">
    ${balance && html`<${Tile} name="Balance" value=${credits(balance.remaining)} hint="credits, prepaid" tone=${balance.remaining <= 0 ? "bad" : ""} href=${to("statements")} />`}
    <${Tile} name="Spent today" value=${credits(day?.spent_microcredits ?? 0)} hint="credits" href=${to("usage")} />
    <${Tile} name="Held now" value=${credits(day?.held_microcredits ?? 0)} hint="of today's requests under way" href=${to("requests")} />
    <${Tile} name="Spent this month" value=${credits(month?.spent_microcredits ?? 0)} hint="credits" href=${to("usage", { by: "month" })} />
    <${Tile} name="Finished this month" value=${count(month?.spent_generations ?? 0)} hint="requests that were charged" href=${to("requests")} />
    ${data.queue.queued !== undefined && html`<${Tile} name="Queued" value=${count(data.queue.queued)} hint=${data.queue.paused ? "the operator has paused dispatch" : data.queue.queueable ? `of ${count(data.queue.max_queued)}` : "queueing is off"} tone=${data.queue.paused ? "warn" : ""} href=${to("requests", { state: "accepted" })} />`}
  </div>`;
}

const GROUPS = [["", "model"], ["none", "nothing"], ["key", "key"], ["end_user", "end user"], ["token", "client token"], ["outcome", "outcome"]];
const MEMBERS = { model: "model_id", key: "kid", end_user: "end_user", token: "token_id", outcome: "outcome" };

export const Lacking = ({ scope, what }) => html`<div class="notice warn"><strong>Not for this session.</strong> ${what} needs a key or link with the scope <code>${scope}</code>.</div>`;

export function Usage({ place }) {
  const { can } = useSession();
  if (!can("usage:read")) return html`<${Page} title="Usage"><${Lacking} scope="usage:read" what="Usage" /><//>`;
  return html`<${Used} query=${place.query} />`;
}

function Used({ query }) {
  const groups = [query.group ?? "model"].filter((one) => one !== "none");
  const asked = { by: query.by ?? "day", from: query.from, to: query.until, model_id: query.model_id, end_user: query.end_user, outcome: query.outcome, group_by: groups };
  const found = useCall((signal) => call("v1/usage", { query: { ...asked, limit: 1000, cursor: query.cursor }, signal }), [asked, query.cursor]);
  return html`<${Page}
    title="Usage"
    lead=${found.data ? `${found.data.first_day} to ${found.data.last_day}, days of ${found.data.time_zone}` : ""}
    actions=${html`<a class="button small" href=${address("v1/usage", { ...asked, format: "csv" })} download>All rows as CSV</a>`}
  >
    <${Filters} query=${query}>
      <${Filter} query=${query} name="from" label="First day" type="date" first=${true} />
      <${Filter} query=${query} name="until" label="Last day" type="date" />
      <${Filter} query=${query} name="by" label="By" kind="select" options=${[["", "day"], ["hour", "hour"], ["month", "month"]]} />
      <${Filter} query=${query} name="group" label="For each" kind="select" options=${GROUPS} />
      <${Filter} query=${query} name="show" label="Plotted" kind="select" options=${[["", "Spent"], ...Object.entries(MEASURES).filter(([key]) => key !== "spent").map(([key, [title]]) => [key, title])]} />
      <${Filter} query=${query} name="model_id" label="Model" search=${true} />
      <${Filter} query=${query} name="outcome" label="Outcome" kind="select" options=${[["", "all"], ...OUTCOMES.map((one) => [one, one])]} />
    <//>
    <${Shown} of=${found} rows=${8} isEmpty=${(data) => !data.rows.length} empty=${html`<p>Nothing was counted in these days.</p>`}>
      ${(data) => html`<${UsageView} data=${data} groups=${groups.map((one) => MEMBERS[one]).filter((one) => data.rows[0] && one in data.rows[0])} measures=${MEASURES} show=${query.show ?? "spent"} name="usage" />
        <${Pages} next=${data.next_cursor} cursor=${query.cursor} onGo=${(cursor) => refine({ cursor }, false)} />`}
    <//>
  <//>`;
}

export function Statements({ place }) {
  const { can } = useSession();
  if (!can("usage:read")) return html`<${Page} title="Statements"><${Lacking} scope="usage:read" what="Seeing statements" /><//>`;
  return html`<${Page} title="Statements"><${Closed} /><${Ledger} query=${place.query} /><//>`;
}

function Closed() {
  const found = useCall((signal) => call("v1/statements", { signal }), []);
  return html`<${Months} of=${found} file=${(one, format) => address(`v1/statements/${one.month}`, { format })} />`;
}

function Ledger({ query }) {
  const found = useCall((signal) => call("v1/ledger", { query: { limit: 50, cursor: query.cursor }, signal }), [query.cursor]);
  return html`<${Entries} title="Every change of the balance, newest first" of=${found} query=${query} />`;
}

// --- API keys and web origins, for whoever has the scope `account:manage`, and the client tokens that web pages hold in
// place of a key, for whoever has `tokens:create`

const inS = ({ lives_s, ...terms }) => (lives_s ? { ...terms, lifetime_s: Math.round(lives_s) } : terms);

export function Keys({ place }) {
  const { can } = useSession();
  return html`<${Page} title="Keys and origins">
    ${can("account:manage") ? html`<${OwnKeys} query=${place.query} /><${Origins} />` : html`<${Lacking} scope="account:manage" what="Managing keys" />`}
    ${can("tokens:create") && html`<${Tokens} query=${place.query} />`}
  <//>`;
}

function OwnKeys({ query }) {
  const { me } = useSession();
  const [secret, setSecret] = useState(null);
  const [link, setLink] = useState(null);
  const keys = useCall((signal) => call("v1/keys", { query: { cursor: query.cursor }, signal }), [query.cursor]);
  const change = async (one, verb, body) => {
    const after = await call(`v1/keys/${one.kid}/${verb}`, { body });
    if (verb === "rotate") setSecret(after);
    keys.reload();
  };
  return html`<${List} title=${`API keys, ${me.mode}`} caption="API keys" more=${html`<${Change} label="Link for a colleague" scope="account:manage" title="A link that opens the portal once" text="Whoever opens it within a minute acts as this session's key, in their browser." needsReason=${false} verb="Make" fields=${[{ name: "scopes", label: "Scopes", kind: "checks", options: me.scopes, value: me.scopes }]} onDo=${async ({ scopes }) => setLink(await call("v1/portal-links", { body: { scopes } }))} /> <${Change} label="New key" scope="account:manage" needsReason=${false} verb="Create" fields=${newKeyFields(me.scopes)} onDo=${async (given) => {
        setSecret(await call("v1/keys", { body: inS(newKey(given)) }));
        keys.reload();
      }} />`} of=${keys} rows=${(data) => data.keys} query=${query} keyOf=${(one) => one.kid} columns=${[
        ["Kid", (one) => html`<code>${one.kid}</code>${one.kid === me.kid ? html` <span class="hint">this session's</span>` : ""}`],
        ["Name", "name"],
        ["State", "state", "state"],
        ["Scopes", (one) => one.scopes.join(", ")],
        ["Models", (one) => (one.models === null ? "all" : one.models.join(", "))],
        ["Last used", "last_used_at", "ago"],
        ["Expires", "expires_at", "time"],
        ["", (one) => one.state === "active" && html`<div class="actions">
          <${Change} label="Narrow" title=${`Narrow ${one.name || one.kid}`} text="What it may do can only be taken away." needsReason=${false} 
            fields=${narrowFields(one)}
            onDo=${(given) => change(one, "narrow", inS(narrowed(given, one)))} />
          <${Change} label="Rotate" title=${`Rotate ${one.name || one.kid}`} text="A second key like it; the old one works on for a while." needsReason=${false} 
            fields=${[{ name: "days", label: "Days that both work", kind: "number", value: "7", min: "0", step: "any" }]}
            onDo=${({ days }) => change(one, "rotate", { overlap_s: Math.round(Number(days) * DAY_S) })} />
          <${Change} label="Revoke" danger=${true} title=${`Revoke ${one.name || one.kid}`}
            text=${one.kid === me.kid ? "You are signed in with this key: the session ends with it." : "It is refused within five seconds, with its client tokens. Its requests go on."}
            fields=${[{ name: "again", label: `Type the kid, ${one.kid}, to confirm`, pattern: one.kid, required: true }]}
            needsReason=${false}  onDo=${() => change(one, "revoke", {})} />
        </div>`, "right"],
      ]}>
    ${secret && html`<${SecretDialog} title="The new key" text="Store it where your program reads its secrets." secret=${secret.key} onClose=${() => setSecret(null)} />`}
    ${link && html`<${SecretDialog} title="The link" text="It works once, within a minute." secret=${link.url} onClose=${() => setLink(null)} />`}
  <//>`;
}

function Origins() {
  const found = useCall((signal) => call("v1/origins", { signal }), []);
  return html`<${Card} title="Web origins" more=${found.data && html`<${Change} label="Change" scope="account:manage" title="Web origins" needsReason=${false} verb="Replace" 
        fields=${[{ name: "origins", label: "One in each line", kind: "area", value: found.data.origins.join("\n"), hint: "Such as https://app.example.com" }]}
        onDo=${async ({ origins }) => {
          await call("v1/origins", { body: { origins: origins.split(/\s+/).filter(Boolean) } });
          found.reload();
        }} />`}>
    <p class="hint">Pages of these origins may call with your keys and client tokens, in both modes.</p>
    <${Shown} of=${found} rows=${2} isEmpty=${(data) => !data.origins.length} empty=${html`<p>There is none.</p>`}>
      ${(data) => html`<ul>${data.origins.map((one) => html`<li><code>${one}</code></li>`)}</ul>`}
    <//>
  <//>`;
}

const FIELDS = [
  { name: "end_user", label: "End user", hint: "A label of yours: each has limits of its own. Empty: nobody's." },
  { name: "minutes", label: "Minutes that it lasts", kind: "number", min: "1", max: "60", value: "10", required: true },
  { name: "max_generations", label: "Most requests", kind: "number", min: "0", hint: "Empty: as many as the limits allow." },
  { name: "credits", label: "Most credits", kind: "number", min: "0", step: "any", hint: "Empty: as many as the limits allow." },
];

export function Tokens({ query }) {
  const [secret, setSecret] = useState(null);
  const [shown, setShown] = useState("");
  const asked = { limit: 25, cursor: query.tokens };
  const tokens = useCall((signal) => call("v1/client-tokens", { query: asked, signal }), [asked]);
  const create = async ({ end_user, minutes, max_generations, credits }) => {
    const body = { lifetime_s: Number(minutes) * 60 };
    if (end_user.trim()) body.end_user = end_user.trim();
    if (max_generations) body.max_generations = Number(max_generations);
    if (credits) body.max_microcredits = Math.round(Number(credits) * 1e6);
    setSecret(await call("v1/client-tokens", { body }));
    tokens.reload();
  };
  return html`<${List} title="Client tokens, newest first" caption="Client tokens" more=${html`<${Change} label="New token" text="For a page to try: your backend makes them for its own users." needsReason=${false} verb="Create" fields=${FIELDS} onDo=${create} />`} of=${tokens} drawn=${2} rows=${(data) => data.client_tokens} empty="No client token was made." query=${query} param="tokens" keyOf=${(one) => one.token_id} columns=${[
        ["Token", "token_id", "code"],
        ["End user", "end_user"],
        ["State", "state", "state"],
        ["Expires", "expires_at", "time"],
        ["Refusals", "refusals", "count"],
        ["", (one) => html`<div class="actions"><button class="button small" onClick=${() => setShown(one.token_id)}>Show</button>
          ${one.state === "active" && html`<${Change} label="Revoke" danger=${true} title="Revoke this client token" text="It is refused within five seconds. Its requests go on." needsReason=${false} onDo=${async () => {
            await call(`v1/client-tokens/${one.token_id}/revoke`, { body: {} });
            tokens.reload();
          }} />`}</div>`, "right"],
      ]}>
    ${secret && html`<${SecretDialog} title="The new client token" text="It may stand in a web page, until it ends." secret=${secret.token} onClose=${() => setSecret(null)} />`}
    ${shown && html`<${TokenDialog} path=${`v1/client-tokens/${shown}`} onClose=${() => setShown("")} />`}
  <//>`;
}

// --- requests, live by one stream of events

/** A link to a copy as this page reaches it, by whatever address of the gateway it was opened. */
const hereOf = (link) => address(link.slice(link.lastIndexOf("/a/") + 1));

export function Requests({ place }) {
  const { query } = place;
  const asked = { state: query.state, model_id: query.model_id, end_user: query.end_user, created_after: momentIn(query.from), created_before: momentIn(query.until) };
  const found = useCall((signal) => call("v1/requests", { query: { ...asked, limit: 50, cursor: query.cursor }, signal }), [asked, query.cursor], { live: query.cursor ? "" : "requests" });
  const opened = useCall((signal) => (query.open ? call(`v1/requests/${encodeURIComponent(query.open)}`, { signal }) : Promise.resolve(null)), [query.open], { live: "requests assets" });
  return html`<${Page} title="Requests" lead=${query.cursor ? "An earlier page" : "Live, newest first"}>
    <${Filters} query=${query}>
      <form class="grow" onSubmit=${(event) => {
        event.preventDefault();
        refine({ open: String(new FormData(event.target).get("id")).trim() });
      }}><label>Request id<input name="id" type="search" data-search placeholder="Search  /, then Enter" autocomplete="off" /></label></form>
      <${StateFilter} query=${query} first=${true} />
      <${Filter} query=${query} name="model_id" label="Model" />
      <${Filter} query=${query} name="end_user" label="End user" />
      <${Filter} query=${query} name="from" label="From" type="datetime-local" />
      <${Filter} query=${query} name="until" label="Until" type="datetime-local" />
    <//>
    <div class="split">
      <${List} caption="Requests" of=${found} drawn=${10} rows=${(data) => data.requests} empty=${html`<p>No request matches. Calls that were refused are no requests: the <a href=${to("")}>overview</a> has them.</p><p><a href=${to("requests")}>Without filters</a></p>`} query=${query} keyOf=${(one) => one.request_id} chosen=${query.open} open=${(one) => to("requests", { ...query, open: one.request_id })} columns=${[
                ["Created", "created_at", "time"],
                ["State", "state", "state"],
                ["Model", "model_id"],
                ["Credits", (one) => credits(one.repriced_microcredits ?? one.price_microcredits), "right"],
                ["Charge", "charge", "spare"],
                ["Took", (one) => (one.finished_at ? span(Date.parse(one.finished_at) - Date.parse(one.created_at)) : ""), "right"],
                ["End user", "end_user", "spare"],
              ]} />
      ${query.open && html`<${Panel} key=${query.open} id=${query.open} found=${opened} close=${to("requests", { ...query, open: "" })} />`}
    </div>
  <//>`;
}

const Panel = ({ id, found, close }) => html`<aside class="panel" aria-label="The request">
  <div class="panel-head">
    <div><h2>Request</h2><code>${id}</code></div>
    <${Copy} text=${id} />
    <a class="button small" data-close href=${close}>Close</a>
  </div>
  <${Shown} of=${found} rows=${8} isEmpty=${(one) => one === null}>
    ${(one) => html`
      <div class="actions"><${State} of=${one.state} />
        ${!one.finished_at && html`<${Change} label="Cancel" scope="submit" title="Cancel this request" text="Only while it waits: what RunComfy has begun goes on, and is charged." verb="Cancel it" danger=${true} needsReason=${false} onDo=${async () => {
          const { outcome } = await call(`v1/requests/${id}/cancel`, { body: {} });
          found.reload();
          if (outcome !== "cancelled") throw new CallError({ title: "It was not cancelled.", detail: "It has begun, or has ended, already." }, 202, 0);
        }} />`}</div>
      ${one.error && html`<div class="notice bad"><strong>It failed.</strong><${Json} of=${one.error} /></div>`}
      <${Media} output=${one.output} />
      <${Copies} assets=${one.assets} linkOf=${async (copy) => hereOf((await call(`v1/assets/${copy.asset_id}/links`, { body: {} })).url)} />
      <section><h3>Timeline</h3><${Timeline} events=${one.events} /></section>
      <${Facts} of=${[
        ["Model", one.model_id],
        ["Price", one.price_microcredits === null ? "" : `${credits(one.price_microcredits)} credits`],
        ["Corrected to", one.repriced_microcredits !== null && one.repriced_microcredits !== undefined ? `${credits(one.repriced_microcredits)} credits` : ""],
        ["Charge", one.charge],
        ["End user", one.end_user],
        ["Key", html`<code>${one.kid}</code>`],
        ["Client token", one.token_id && html`<code>${one.token_id}</code>`],
        ["Created", html`<${Time} at=${one.created_at} />`],
        ["Finished", one.finished_at && html`<${Time} at=${one.finished_at} />`],
      ]} />
      ${one.input !== undefined && html`<section><h3>Input</h3><${Json} of=${one.input} /></section>`}
      ${one.output && html`<section><h3>Output</h3><${Json} of=${one.output} /></section>`}
    `}
  <//>
</aside>`;
