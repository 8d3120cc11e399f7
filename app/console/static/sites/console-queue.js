// What is sent, with what, and for how much: who waits in the queue; the credentials for RunComfy; models and
// their prices; and what was used, by any grouping, with RunComfy's cost and the margin.

import { html, useState } from "./vendor.js";
import { address, call } from "./calls.js";
import { Card, Change, Dialog, Json, List, Page, Pages, Pill, Shown, State, Time, useCall } from "./kit.js";
import { Filter, Filters, ModePick } from "./parts.js";
import { count, credits, modeOf, percent, refine, to } from "./state.js";
import { MEASURES, OF_OPERATORS, OUTCOMES, UsageView } from "./usage-view.js";

export function Queue({ place }) {
  const mode = modeOf(place.query);
  const found = useCall((signal) => call("admin/v1/dispatch", { signal }), [], { live: "requests" });
  const since = found.data?.paused_since[mode];
  const change = (verb, body) => call(`admin/v1/dispatch/${verb}`, { body }).then(found.reload);
  return html`<${Page}
    title="Queue"
    lead="Requests that wait to be sent, fairly by tenant"
    actions=${html`<${ModePick} query=${place.query} />
      ${found.data && html`<${Change} label=${`${since ? "Resume" : "Pause"} dispatch of all tenants`} scope="operate" danger=${!since} title=${`${since ? "Resume" : "Pause"} dispatch of all tenants, ${mode} keys`}
          text=${since ? "What waits is sent again." : "Nothing of any tenant is sent. Requests that may be queued are still accepted; others are refused."}
          verb=${since ? "Resume" : "Pause"} 
          onDo=${({ reason }) => change(since ? "resume" : "pause", { modes: [mode], reason })} />`}`}
  >
    ${since && html`<div class="notice warn"><strong>Dispatch of all tenants is paused</strong> since <${Time} at=${since} />.</div>`}
    <${List} caption="Queues" of=${found} rows=${(data) => data.queues.filter((one) => one.mode === mode).sort((a, b) => b.queued - a.queued)} empty="No tenant has a queue in this mode." keyOf=${(one) => one.tenant} open=${(one) => to(["tenants", one.tenant], { tab: "settings" })} columns=${[
            ["Tenant", "tenant"],
            ["Queued", "queued", "count"],
            ["Oldest", "oldest_at", "ago"],
            ["In flight", "in_flight", "count"],
            ["Weight", "weight", " right"],
            ["Share", (one) => `${Math.round(one.share * 100)} %`, "right"],
            ["Sent ever", "sent", "count"],
            ["", (one) => html`${one.disabled ? html`<${Pill} tone="bad">disabled<//>` : one.paused ? html`<${Pill} tone="warn">dispatch paused<//>` : ""}`],
            ["", (one) => html`<${Change} label=${one.paused ? "Resume" : "Pause"} scope="operate" title=${`${one.paused ? "Resume" : "Pause"} dispatch of ${one.tenant}`} text="In both modes." verb=${one.paused ? "Resume" : "Pause"} 
                onDo=${({ reason }) => change(one.paused ? "resume" : "pause", { tenant: one.tenant, reason })} />`, "right"],
          ]} />
  <//>`;
}

export function Credentials() {
  const found = useCall((signal) => call("admin/v1/credentials", { signal }), [], { live: "requests" });
  return html`<${Page} title="Credentials" lead="For RunComfy; never their secrets">
    <${List} caption="Credentials" of=${found} rows=${(data) => data.credentials} empty="None is configured." keyOf=${(one) => one.name} columns=${[
            ["Name", "name"],
            ["Mode", "mode"],
            ["State", (one) => html`<${State} of=${one.configured ? one.condition : "removed"} />`],
            ["Why", "reason"],
            ["Paused until", "paused_until", "time"],
            ["Live jobs", "live", "count"],
            ["May have", (one) => one.concurrency ?? "any number", "right"],
            ["Learnt", (one) => one.learnt_concurrency ?? "–", "right"],
            ["Weight", "weight", " right"],
            ["Next poll", "next_poll_at", "ago"],
          ]} />
  <//>`;
}

const aWeekAgo = () => new Date(Date.now() - 7 * 86_400_000).toISOString().slice(0, 10);

/** The sums of two months of a model. */
const added = (before, one) =>
  before ? Object.fromEntries(Object.entries(one).map(([name, value]) => [name, typeof value === "number" ? value + before[name] : value])) : one;

export function Models({ place }) {
  const { query } = place;
  const mode = modeOf(query);
  const models = useCall((signal) => call("admin/v1/models", { signal }), []);
  const usage = useCall((signal) => call("admin/v1/usage", { query: { mode, by: "month", group_by: "model", first_day: aWeekAgo() }, signal }), [mode]);
  const by = new Map();
  for (const one of usage.data?.rows ?? []) by.set(one.model_id, added(by.get(one.model_id), one));
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
  return html`<${Page} title="Models and prices" lead="What each is charged, and what was left of it this month; in its first week with the month before" actions=${html`<${ModePick} query=${query} />`}>
    <${Filters} query=${query}><${Filter} query=${query} name="q" label="Model" search=${true} first=${true} grow=${true} placeholder="Search  /" /><//>
    <${List} caption="Models" of=${models} rows=${(data) => listed(data.models)} empty="The catalogue is empty." keyOf=${(one) => one.model_id} open=${(one) => (one.gone ? to("usage", { model_id: one.model_id, show: "margin", mode: query.mode }) : to("models", { ...query, open: one.model_id }))} columns=${[
            ["Model", (one) => html`${one.display_name} ${one.gone ? "" : html`<span class="under hint">${one.model_id}</span>`}`],
            ["Price", (one) => (one.gone ? html`<${Pill}>not served<//>` : one.lowest_microcredits === one.highest_microcredits ? credits(one.lowest_microcredits) : `${credits(one.lowest_microcredits)} to ${credits(one.highest_microcredits)}`), "right"],
            ["Version", "price_version", "wide tight"],
            ["Submits", (one) => count(by.get(one.model_id)?.held_generations ?? 0), "right"],
            ["Charged", (one) => credits((by.get(one.model_id)?.spent_microcredits ?? 0) - (by.get(one.model_id)?.adjusted_microcredits ?? 0)), "right"],
            ["RunComfy's cost", (one) => credits(by.get(one.model_id)?.cost_microusd ?? 0), "right"],
            ["Margin", (one) => html`<span class=${margin(one) < 0 ? "below" : ""}>${credits(margin(one))}</span>`, "right"],
            ["Margin, %", (one) => (by.get(one.model_id)?.spent_microcredits ? percent(margin(one), by.get(one.model_id).spent_microcredits) : "–"), "right"],
            ["", (one) => html`${margin(one) < 0 ? html`<${Pill} tone="bad">a loss<//>` : ""} ${one.warnings.length ? html`<${Pill} tone="warn">odd<//>` : ""}`],
          ]} />
    ${opened &&
    html`<${Dialog} title=${opened.display_name} onClose=${() => refine({ open: "" })}>
      ${opened.warnings.map((one) => html`<p class="notice warn">${one}</p>`)}
      <h3>Prices, as its file has them</h3>
      <pre class="json" tabindex="0">${JSON.stringify(opened.pricing, null, 2)}</pre>
      <div class="actions"><button class="button" onClick=${() => refine({ open: "" })}>Close</button><${Reprice} model=${opened} test=${mode === "test"} /><a class="button" href=${to("usage", { model_id: opened.model_id, show: "margin", mode: query.mode })}>Its margin by day</a></div>
    <//>`}
  <//>`;
}

/** Corrects what was charged with a wrong version of a model's prices; first it is only told what would change. */
function Reprice({ model, test }) {
  const [told, setTold] = useState(null);
  const send = async ({ version, first_day, last_day, price, how, reason }) => {
    const body = { model_id: model.model_id, version, first_day, last_day, price: price || null, test, dry_run: how !== "do", reason };
    setTold(await call("admin/v1/ledger/reprice", { body }));
    return "told";
  };
  const today = new Date().toISOString().slice(0, 10);
  return html`<${Change} label="Correct what was charged" scope="money" verb="Go on" fields=${[
      { name: "version", label: "Version of the prices that was wrong", value: model.price_version, required: true },
      { name: "first_day", label: "First day", kind: "date", value: `${today.slice(0, 8)}01`, required: true },
      { name: "last_day", label: "Last day", kind: "date", value: today, required: true },
      { name: "price", label: "Credits that each should have cost", hint: "Empty: what the present prices say." },
      { name: "how", label: "What to do", kind: "select", value: "tell", options: [["tell", "tell what would change, and change nothing"], ["do", "correct it, by an adjustment for each request"]] },
    ]} onDo=${send} />
    ${told && html`<${Dialog} title="What was charged" onClose=${() => setTold(null)}><${Json} of=${told} /><div class="actions"><button class="button" onClick=${() => setTold(null)}>Close</button></div><//>`}`;
}

// --- usage of all tenants or of one

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
