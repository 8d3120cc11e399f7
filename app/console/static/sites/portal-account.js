// The tenant's account: how it stands now, what was used, closed months as files, and every change of the balance.

import { html } from "./vendor.js";
import { address, call } from "./calls.js";
import { Card, LimitBar, List, Page, Pages, Shown, Tile, Time, useCall } from "./kit.js";
import { Filter, Filters } from "./parts.js";
import { count, credits, refine, to, useSession } from "./state.js";
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
          ["Error", "code", "code"],
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
    ${data.queue.queued !== undefined && html`<${Tile} name="Queued" value=${count(data.queue.queued)} hint=${data.queue.paused ? "the operator has paused sending" : data.queue.queueable ? `of ${count(data.queue.max_queued)}` : "queueing is off"} tone=${data.queue.paused ? "warn" : ""} href=${to("requests", { state: "accepted" })} />`}
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
  return html`<${Page} title="Statements"><${Months} /><${Ledger} query=${place.query} /><//>`;
}

function Months() {
  const found = useCall((signal) => call("v1/statements", { signal }), []);
  const file = (one, format) => address(`v1/statements/${one.month}`, { format });
  return html`<${List} title="Closed months" caption="Statements" of=${found} rows=${(data) => data.statements} empty="No month is closed yet: one closes soon after it has ended." keyOf=${(one) => one.month} columns=${[
        ["Month", "month", " tight"],
        ["Opening", "opening_microcredits", "credits"],
        ["Held", "held_microcredits", "credits"],
        ["Refunded", "refunded_microcredits", "credits"],
        ["Added", "added_microcredits", "credits"],
        ["Adjusted", "adjusted_microcredits", "credits"],
        ["Closing", "closing_microcredits", "credits"],
        ["", (one) => html`<a class="button small" href=${file(one, "csv")} download>CSV</a> <a class="button small" href=${file(one, "pdf")} download>PDF</a>`, "right"],
      ]} />`;
}

function Ledger({ query }) {
  const found = useCall((signal) => call("v1/ledger", { query: { limit: 50, cursor: query.cursor }, signal }), [query.cursor]);
  return html`<${List} title="Every change of the balance, newest first" caption="Ledger" of=${found} rows=${(data) => data.entries} empty="Nothing was entered." query=${query} keyOf=${(one) => one.entry} columns=${[
        ["At", "at", "time"],
        ["Entry", "kind"],
        ["Credits", (one) => html`<span class=${one.microcredits < 0 ? "below" : ""}>${credits(one.microcredits)}</span>`, "right"],
        ["Request", (one) => one.request_id && html`<a href=${to("requests", { open: one.request_id })}>${one.request_id.slice(-12)}</a>`],
        ["Reference", "reference"],
        ["Note", "note"],
      ]} />`;
}
