// Usage of all tenants or of one, by any grouping, with RunComfy's cost and the margin.

import { html } from "./vendor.js";
import { address, call } from "./calls.js";
import { Card, Page, Pages, Shown, useCall } from "./kit.js";
import { Filter, Filters, ModePick } from "./parts.js";
import { count, modeOf, refine } from "./state.js";
import { MEASURES, OF_OPERATORS, OUTCOMES, UsageView } from "./usage-view.js";

const GROUPS = [["", "model"], ["tenant", "tenant"], ["none", "nothing"], ["tenant,model", "tenant and model"], ["key", "key"], ["end_user", "end user"], ["token", "client token"], ["outcome", "outcome"]];
const MEMBERS = { tenant: "tenant", model: "model_id", key: "kid", end_user: "end_user", token: "token_id", outcome: "outcome" };
const ALL = { ...MEASURES, ...OF_OPERATORS };

const dayOf = (at) => at.toISOString().slice(0, 10);

/** Spans that somebody asks for: their name, first and last day. */
function spans() {
  const now = new Date();
  const [year, month, day] = [now.getFullYear(), now.getMonth(), now.getDate()];
  const at = (ofYear, ofMonth, ofDay) => dayOf(new Date(Date.UTC(ofYear, ofMonth, ofDay)));
  const monday = day - ((now.getDay() + 6) % 7);
  return [
    ["Today", at(year, month, day), at(year, month, day)],
    ["This week", at(year, month, monday), at(year, month, monday + 6)],
    ["Last week", at(year, month, monday - 7), at(year, month, monday - 1)],
    ["This month", at(year, month, 1), at(year, month + 1, 0)],
    ["Last month", at(year, month - 1, 1), at(year, month, 0)],
  ];
}

export function Usage({ place }) {
  const { query } = place;
  const groups = (query.group ?? "model").split(",").filter((one) => one && one !== "none");
  const asked = {
    mode: modeOf(query),
    by: query.by ?? "day",
    first_day: query.from,
    last_day: query.until,
    tenant: query.tenant,
    model_id: query.model_id,
    outcome: query.outcome,
    end_user: query.end_user,
    group_by: groups,
  };
  const found = useCall((signal) => call("admin/v1/usage", { query: { ...asked, limit: 1000, cursor: query.cursor }, signal }), [asked, query.cursor]);
  return html`<${Page}
    title="Usage"
    lead=${found.data ? `${found.data.first_day} to ${found.data.last_day}, ${found.data.time_zone ? `days of ${found.data.time_zone}` : "each tenant's own days"}` : "From the ledger's sums"}
    actions=${html`<${ModePick} query=${query} /><a class="button small" href=${address("admin/v1/usage", { ...asked, format: "csv" })} download>All rows as CSV</a>`}
  >
    <div class="actions">${spans().map(([title, from, until]) => html`<button class="button small" aria-pressed=${query.from === from && query.until === until ? "true" : "false"} onClick=${() => refine({ from, until, cursor: "" })}>${title}</button>`)}</div>
    <${Filters} query=${query}>
      <${Filter} query=${query} name="from" label="First day" type="date" first=${true} />
      <${Filter} query=${query} name="until" label="Last day" type="date" />
      <${Filter} query=${query} name="by" label="By" kind="select" options=${[["", "day"], ["hour", "hour"], ["month", "month"]]} />
      <${Filter} query=${query} name="group" label="For each" kind="select" options=${GROUPS} />
      <${Filter} query=${query} name="show" label="Plotted" kind="select" options=${[["", "Spent"], ...Object.entries(ALL).filter(([key]) => key !== "spent").map(([key, [title]]) => [key, title])]} />
      <${Filter} query=${query} name="tenant" label="Tenant" search=${true} />
      <${Filter} query=${query} name="model_id" label="Model" />
      <${Filter} query=${query} name="outcome" label="Outcome" kind="select" options=${[["", "all"], ...OUTCOMES.map((one) => [one, one])]} />
    <//>
    <${Shown} of=${found} rows=${8} isEmpty=${(data) => !data.rows.length} empty=${html`<p>Nothing was counted in these days.</p>`}>
      ${(data) => html`${data.next_cursor && html`<div class="notice warn"><strong>A part of it:</strong> the first ${count(data.rows.length)} rows${query.cursor ? " of this page" : ""}. Take months, or fewer groups, to see all at once; all rows are in the CSV.</div>`}
        <${UsageView} data=${data} groups=${groups.map((one) => MEMBERS[one]).filter((one) => data.rows[0] && one in data.rows[0])} measures=${ALL} show=${query.show ?? "spent"} name="usage" />
        ${data.next_cursor && html`<${Card} kind="flush"><${Pages} next=${data.next_cursor} cursor=${query.cursor} onGo=${(cursor) => refine({ cursor }, false)} /><//>`}`}
    <//>
  <//>`;
}
