// Closed months as files, and every change of the balance.

import { html } from "./vendor.js";
import { address, call } from "./calls.js";
import { Card, Page, Pages, Shown, Table, Time, useCall } from "./kit.js";
import { credits, refine, to, useSession } from "./state.js";
import { Lacking } from "./portal-usage.js";

export function Statements({ place }) {
  const { can } = useSession();
  if (!can("usage:read")) return html`<${Page} title="Statements"><${Lacking} scope="usage:read" what="Seeing statements" /><//>`;
  return html`<${Page} title="Statements"><${Months} /><${Ledger} query=${place.query} /><//>`;
}

function Months() {
  const found = useCall((signal) => call("v1/statements", { signal }), []);
  const file = (one, format) => address(`v1/statements/${one.month}`, { format });
  return html`<${Card} title="Closed months" kind="flush">
    <${Shown} of=${found} isEmpty=${(data) => !data.statements.length} empty=${html`<p>No month is closed yet: one closes soon after it has ended.</p>`}>
      ${(data) => html`<${Table} caption="Statements" rows=${data.statements} keyOf=${(one) => one.month} columns=${[
        ["Month", (one) => one.month, "tight"],
        ["Opening", (one) => credits(one.opening_microcredits), "right"],
        ["Held", (one) => credits(one.held_microcredits), "right"],
        ["Refunded", (one) => credits(one.refunded_microcredits), "right"],
        ["Added", (one) => credits(one.added_microcredits), "right"],
        ["Adjusted", (one) => credits(one.adjusted_microcredits), "right"],
        ["Closing", (one) => credits(one.closing_microcredits), "right"],
        ["", (one) => html`<a class="button small" href=${file(one, "csv")} download>CSV</a> <a class="button small" href=${file(one, "pdf")} download>PDF</a>`, "right"],
      ]} />`}
    <//>
  <//>`;
}

function Ledger({ query }) {
  const found = useCall((signal) => call("v1/ledger", { query: { limit: 50, cursor: query.cursor }, signal }), [query.cursor]);
  return html`<${Card} title="Every change of the balance, newest first" kind="flush">
    <${Shown} of=${found} isEmpty=${(data) => !data.entries.length} empty=${html`<p>Nothing was entered.</p>`}>
      ${(data) => html`<${Table} caption="Ledger" rows=${data.entries} keyOf=${(one) => one.entry} columns=${[
        ["At", (one) => html`<${Time} at=${one.at} />`, "tight"],
        ["Entry", (one) => one.kind],
        ["Credits", (one) => html`<span class=${one.microcredits < 0 ? "below" : ""}>${credits(one.microcredits)}</span>`, "right"],
        ["Request", (one) => one.request_id && html`<a href=${to("requests", { open: one.request_id })}>${one.request_id.slice(-12)}</a>`],
        ["Reference", (one) => one.reference ?? ""],
        ["Note", (one) => one.note ?? ""],
      ]} /><${Pages} next=${data.next_cursor} cursor=${query.cursor} onGo=${(cursor) => refine({ cursor }, false)} />`}
    <//>
  <//>`;
}
