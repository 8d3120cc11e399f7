// Balance, limits with when they come back, and what was refused: how the account stands now.

import { html } from "./vendor.js";
import { call } from "./calls.js";
import { Card, LimitBar, Page, Shown, Table, Tile, Time, useCall } from "./kit.js";
import { count, credits, to, useSession } from "./state.js";

export function Account() {
  const { me, can } = useSession();
  const quota = useCall((signal) => call("v1/quota", { signal }), [], { every: 10_000 });
  const refused = useCall((signal) => call("v1/refusals", { signal }), [], { every: 30_000 });
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
    <${Card} title="Refused in the last day" kind="flush">
      <${Shown} of=${refused} isEmpty=${(data) => !data.refusals.length} empty=${html`<p>No call was refused.</p>`}>
        ${(data) => html`<${Table} caption="Refused calls" rows=${data.refusals} keyOf=${(one) => `${one.kid} ${one.code}`} columns=${[
          ["Error", (one) => html`<code>${one.code}</code>`],
          ["Key", (one) => html`<code>${one.kid}</code>`],
          ["Calls", (one) => count(one.count), "right"],
          ["Worst minute", (one) => count(one.max_per_minute), "right"],
          ["First", (one) => html`<${Time} at=${one.first_at} />`, "tight"],
          ["Last", (one) => html`<${Time} at=${one.last_at} />`, "tight"],
        ]} />`}
      <//>
    <//>
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
