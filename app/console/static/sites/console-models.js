// Models with their prices, and whether what was charged this month covered RunComfy's cost.

import { html } from "./vendor.js";
import { call } from "./calls.js";
import { Card, Dialog, Page, Pill, Shown, Table, useCall } from "./kit.js";
import { Filter, ModePick } from "./parts.js";
import { count, credits, modeOf, percent, refine, to } from "./state.js";

export function Models({ place }) {
  const { query } = place;
  const mode = modeOf(query);
  const models = useCall((signal) => call("admin/v1/models", { signal }), []);
  const usage = useCall((signal) => call("admin/v1/usage", { query: { mode, by: "month", group_by: "model" }, signal }), [mode]);
  const by = new Map((usage.data?.rows ?? []).map((one) => [one.model_id, one]));
  const wanted = (query.q ?? "").toLowerCase();
  const margin = (one) => by.get(one.model_id)?.margin_microcredits ?? null;
  /** Those of the catalogue, and those that it no longer has, but for which something was charged. */
  const listed = (all) => {
    const known = new Set(all.map((one) => one.model_id));
    const gone = [...by.keys()].filter((id) => id && !known.has(id)).map((id) => ({ model_id: id, display_name: id, gone: true, warnings: [] }));
    const found = [...all, ...gone].filter((one) => `${one.model_id} ${one.display_name}`.toLowerCase().includes(wanted));
    return found.sort((a, b) => Math.min(0, margin(a)) - Math.min(0, margin(b)));
  };
  const opened = models.data?.models.find((one) => one.model_id === query.open);
  return html`<${Page} title="Models and prices" lead="What each is charged, and what was left of it this month" actions=${html`<${ModePick} query=${query} />`}>
    <div class="filters" role="search"><${Filter} query=${query} name="q" label="Model" search=${true} first=${true} grow=${true} placeholder="Search  /" /></div>
    <${Card} kind="flush">
      <${Shown} of=${models} isEmpty=${(data) => !data.models.length} empty=${html`<p>The catalogue is empty.</p>`}>
        ${(data) => html`<${Table}
          caption="Models"
          rows=${listed(data.models)}
          keyOf=${(one) => one.model_id}
          open=${(one) => (one.gone ? to("usage", { model_id: one.model_id, show: "margin", mode: query.mode }) : to("models", { ...query, open: one.model_id }))}
          columns=${[
            ["Model", (one) => html`${one.display_name} ${one.gone ? "" : html`<span class="under hint">${one.model_id}</span>`}`],
            ["Price", (one) => (one.gone ? html`<${Pill}>not served<//>` : one.lowest_microcredits === one.highest_microcredits ? credits(one.lowest_microcredits) : `${credits(one.lowest_microcredits)} to ${credits(one.highest_microcredits)}`), "right"],
            ["Version", (one) => one.price_version, "wide"],
            ["Submits", (one) => count(by.get(one.model_id)?.held_generations ?? 0), "right"],
            ["Charged", (one) => credits((by.get(one.model_id)?.spent_microcredits ?? 0) - (by.get(one.model_id)?.adjusted_microcredits ?? 0)), "right"],
            ["RunComfy's cost", (one) => credits(by.get(one.model_id)?.cost_microusd ?? 0), "right"],
            ["Margin", (one) => html`<span class=${margin(one) < 0 ? "below" : ""}>${credits(margin(one))}</span>`, "right"],
            ["of it", (one) => (by.get(one.model_id)?.spent_microcredits ? percent(margin(one), by.get(one.model_id).spent_microcredits) : "–"), "right"],
            ["", (one) => html`${margin(one) < 0 ? html`<${Pill} tone="bad">a loss<//>` : ""} ${one.warnings.length ? html`<${Pill} tone="warn">odd<//>` : ""}`],
          ]}
        />`}
      <//>
    <//>
    ${opened &&
    html`<${Dialog} title=${opened.display_name} onClose=${() => refine({ open: "" })}>
      ${opened.warnings.map((one) => html`<p class="notice warn">${one}</p>`)}
      <h3>Prices, as its file has them</h3>
      <pre class="json" tabindex="0">${JSON.stringify(opened.pricing, null, 2)}</pre>
      <div class="actions"><button class="button" onClick=${() => refine({ open: "" })}>Close</button><a class="button" href=${to("usage", { model_id: opened.model_id, show: "margin", mode: query.mode })}>Its margin by day</a></div>
    <//>`}
  <//>`;
}
