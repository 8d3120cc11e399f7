// What the tenant's requests held, spent and gave back, by any grouping.

import { html } from "./vendor.js";
import { address, call } from "./calls.js";
import { Page, Pages, Shown, useCall } from "./kit.js";
import { Filter } from "./parts.js";
import { refine, useSession } from "./state.js";
import { MEASURES, OUTCOMES, UsageView } from "./usage-view.js";

const GROUPS = [["", "model"], ["none", "nothing"], ["key", "key"], ["end_user", "end user"], ["token", "client token"], ["outcome", "outcome"]];
const MEMBERS = { model: "model_id", key: "kid", end_user: "end_user", token: "token_id", outcome: "outcome" };

export const Lacking = ({ scope, what }) => html`<div class="notice warn"><strong>Not for this session.</strong> ${what} needs a key or link with the scope <code>${scope}</code>.</div>`;

export function Usage({ place }) {
  const { can } = useSession();
  if (!can("usage:read")) return html`<${Page} title="Usage"><${Lacking} scope="usage:read" what="Usage" /><//>`;
  return html`<${Sums} query=${place.query} />`;
}

function Sums({ query }) {
  const groups = [query.group ?? "model"].filter((one) => one !== "none");
  const asked = { by: query.by ?? "day", from: query.from, to: query.until, model_id: query.model_id, end_user: query.end_user, outcome: query.outcome, group_by: groups };
  const found = useCall((signal) => call("v1/usage", { query: { ...asked, limit: 1000, cursor: query.cursor }, signal }), [asked, query.cursor]);
  return html`<${Page}
    title="Usage"
    lead=${found.data ? `${found.data.first_day} to ${found.data.last_day}, days of ${found.data.time_zone}` : ""}
    actions=${html`<a class="button small" href=${address("v1/usage", { ...asked, format: "csv" })} download>All rows as CSV</a>`}
  >
    <div class="filters" role="search">
      <${Filter} query=${query} name="from" label="First day" type="date" first=${true} />
      <${Filter} query=${query} name="until" label="Last day" type="date" />
      <${Filter} query=${query} name="by" label="By" kind="select" options=${[["", "day"], ["hour", "hour"], ["month", "month"]]} />
      <${Filter} query=${query} name="group" label="For each" kind="select" options=${GROUPS} />
      <${Filter} query=${query} name="show" label="Plotted" kind="select" options=${[["", "Spent"], ...Object.entries(MEASURES).filter(([key]) => key !== "spent").map(([key, [title]]) => [key, title])]} />
      <${Filter} query=${query} name="model_id" label="Model" search=${true} />
      <${Filter} query=${query} name="outcome" label="Outcome" kind="select" options=${[["", "all"], ...OUTCOMES.map((one) => [one, one])]} />
    </div>
    <${Shown} of=${found} rows=${8} isEmpty=${(data) => !data.rows.length} empty=${html`<p>Nothing was counted in these days.</p>`}>
      ${(data) => html`<${UsageView} data=${data} groups=${groups.map((one) => MEMBERS[one]).filter((one) => data.rows[0] && one in data.rows[0])} measures=${MEASURES} show=${query.show ?? "spent"} name="usage" />
        <${Pages} next=${data.next_cursor} cursor=${query.cursor} onGo=${(cursor) => refine({ cursor }, false)} />`}
    <//>
  <//>`;
}
