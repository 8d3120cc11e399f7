// At a glance: what needs a decision, and what is happening now. One call, every five seconds at most.

import { html, useState } from "./vendor.js";
import { call } from "./calls.js";
import { Chart } from "./usage-view.js";
import { Card, List, Page, Shown, State, Tile, Time, useCall } from "./kit.js";
import { ModePick } from "./parts.js";
import { away, count, credits, minute, modeIn, modeOf, span, theZone, to } from "./state.js";

const FIRST = 5;
const LATE_MS = 60_000;

/** How each kind of decision is told, and where it is made. */
const TOLD = {
  unknown_requests: (one, mode) => [
    `${count(one.count)} ${one.count === 1 ? "request is" : "requests are"} unknown`,
    "Find each job at RunComfy and resolve it: its price is held until then.",
    to("requests", { state: "unknown", mode }),
    "bad",
  ],
  credential_paused: (one) => [`Credential ${one.subject} is paused`, `${count(one.count)} of its jobs are live.`, to("credentials"), "bad"],
  credential_removed: (one) => [`Credential ${one.subject} was removed`, `Nobody can follow ${count(one.count)} of its jobs.`, to("credentials"), "bad"],
  polls_late: (one) => [`Polls of ${one.subject} are late`, "Results reach callers later than they should.", to("credentials"), "bad"],
  dispatch_paused: (one, mode) => ["Dispatch is paused", `${count(one.count)} requests wait.`, to("queue", { mode }), "warn"],
  queue_waits: (one, mode) => [`${one.subject} waits`, `${count(one.count)} queued, the oldest ${away(one.since)}.`, to("queue", { mode }), "warn"],
  price_below_cost: (one) => [`${one.subject} makes a loss`, `${credits(one.count)} credits below RunComfy's cost in a week.`, to("models"), "warn"],
  flood_of_refusals: (one, mode) => [`${one.subject || "Somebody without a key"} is flooding us`, `${count(one.count)} refusals in an hour.`, to("tenants", { tab: "refused", mode }), "warn"],
  webhooks_late: (one, mode) => ["Webhooks are late", `${count(one.count)} wait. Does a server run the loops?`, to("webhooks", { state: "pending", mode }), "bad"],
  endpoints_failing: (one, mode) => [`Webhooks of ${one.subject} do not arrive`, `${count(one.count)} ${one.count === 1 ? "endpoint fails" : "endpoints fail"}.`, to("webhooks", { tab: "endpoints", tenant: one.subject, mode }), "warn"],
  limit_reached: (one) => [`${one.subject} reached a limit`, `${count(one.count)} used up within a day.`, to(["tenants", one.subject]), "warn"],
};

export function Now({ place }) {
  const mode = modeOf(place.query);
  const now = useCall((signal) => call("admin/v1/overview", { query: { mode }, signal }), [mode], { live: "requests webhooks", pause: 5000 });
  return html`<${Page}
    title="Now"
    lead=${now.data ? html`As of <${Time} at=${now.data.at} />, live` : "What is happening, and what needs a decision"}
    actions=${html`<${ModePick} query=${place.query} />`}
  >
    <${Shown} of=${now} rows=${6}>${(data) => html`<${Glance} data=${data} mode=${mode} />`}<//>
  <//>`;
}

function Glance({ data, mode: shown }) {
  const of = { data };
  const mode = modeIn(shown);
  const { today } = data;
  const inFlight = data.credentials.reduce((sum, one) => sum + one.live, 0);
  const queued = data.queues.reduce((sum, one) => sum + one.queued, 0);
  const lag = Math.max(0, ...data.credentials.map((one) => (one.next_poll_at ? Date.parse(data.at) - Date.parse(one.next_poll_at) : 0)));
  const late = data.webhooks_due_since ? Date.parse(data.at) - Date.parse(data.webhooks_due_since) : 0;
  return html`
    <${Decisions} all=${data.decisions} mode=${mode} />
    <div class="sums">
    <section><h2>Today, UTC</h2><div class="tiles">
      <${Tile} name="Submitted" value=${count(today.held_generations)} href=${to("requests", { mode })} />
      <${Tile} name="Refused calls" value=${count(today.refused_calls)} href=${to("tenants", { tab: "refused", mode: shown })} />
      <${Tile} name="Spent" value=${credits(today.spent_microcredits)} hint="credits" href=${to("usage", { mode })} />
      <${Tile} name="Margin" value=${credits(today.margin_microcredits)} hint="after RunComfy's cost" tone=${today.margin_microcredits < 0 ? "bad" : ""} href=${to("usage", { mode, show: "margin" })} />
    </div></section>
    <section><h2>Now</h2><div class="tiles">
      <${Tile} name="In flight" value=${count(inFlight)} href=${to("credentials")} />
      <${Tile} name="Queued" value=${count(queued)} hint=${data.dispatch_paused_since ? "dispatch is paused" : ""} tone=${data.dispatch_paused_since ? "warn" : ""} href=${to("queue", { mode })} />
      <${Tile} name="Unknown" value=${count(data.unknown)} hint=${data.unknown_since ? `the first ${away(data.unknown_since)}` : ""} tone=${data.unknown ? "bad" : ""} href=${to("requests", { state: "unknown", mode })} />
      <${Tile} name="Poll lag" value=${span(lag)} tone=${lag > LATE_MS ? "bad" : ""} href=${to("credentials")} />
      <${Tile} name="Webhooks waiting" value=${count(data.webhooks_waiting)} hint=${late > 0 ? `the first is ${span(late)} late` : ""} tone=${late > LATE_MS ? "bad" : ""} href=${to("webhooks", { state: "pending", mode })} />
    </div></section>
    </div>
    <${Hours} hours=${data.hours} at=${data.at} />
    <div class="cards wide">
      <div class="stack"><${List} title="In flight by credential" caption="Credentials" of=${of} rows=${(all) => all.credentials} empty="No credential of this mode is configured." keyOf=${(one) => one.name} columns=${[
        ["Credential", "name"],
        ["State", (one) => html`<${State} of=${one.configured ? one.condition : "removed"} />`],
        ["Live", (one) => `${count(one.live)}${one.concurrency ? ` of ${one.concurrency}` : ""}`, "right"],
        ["Next poll", "next_poll_at", "ago"],
      ]} />
      <${List} title="Queue by tenant" caption="Queues" of=${of} rows=${(all) => all.queues} empty="Nobody waits." keyOf=${(one) => one.tenant} open=${(one) => to(["tenants", one.tenant])} columns=${[
        ["Tenant", "tenant"],
        ["Queued", "queued", "count"],
        ["Oldest", "oldest_at", "ago"],
        ["In flight", "in_flight", "count"],
        ["Share", (one) => `${Math.round(one.share * 100)} %`, "right"],
        ["", (one) => one.paused && html`<${State} of="paused" />`],
      ]} /></div>
      <${List} title="Refused in the last hour" caption="Refusals" of=${of} rows=${(all) => all.refused} empty="No call was refused." keyOf=${(one) => `${one.kid} ${one.code} ${one.network}`} columns=${[
        ["Who", (one) => one.tenant ? html`<a href=${to(["tenants", one.tenant])}>${one.tenant}</a>` : one.network ?? "no key"],
        ["Error", "code", "code"],
        ["Calls", "count", "count"],
        ["A minute", "max_per_minute", "count"],
      ]} />
    </div>
  `;
}

function Decisions({ all, mode }) {
  const [shows, setShows] = useState(FIRST);
  if (!all.length) return html`<p class="calm">Nothing needs a decision.</p>`;
  return html`<section aria-label="What needs a decision" class="decisions">
    ${all.slice(0, shows).map((one) => {
      const [title, text, href, tone] = (TOLD[one.kind] ?? (() => [one.kind, one.subject, to(""), "warn"]))(one, mode);
      return html`<a class=${`decision ${tone}`} href=${href}
        ><strong>${title}</strong><span class="hint">${text}${one.since ? html` <${Time} at=${one.since} rel=${true} />` : ""}</span><span class="go">Look</span></a
      >`;
    })}
    ${all.length > shows && html`<button class="button small" onClick=${() => setShows(all.length)}>${all.length - shows} more</button>`}
  </section>`;
}

/** The last 24 hours, with those in which nothing happened. */
function Hours({ hours, at }) {
  const HOUR = 3_600_000;
  const last = Math.floor(Date.parse(at) / HOUR) * HOUR;
  const by = new Map(hours.map((one) => [Date.parse(one.period), one]));
  const times = Array.from({ length: 24 }, (_, place) => last - (23 - place) * HOUR);
  const of = (name) => times.map((time) => by.get(time)?.[name] ?? 0);
  return html`<${Card} title="The last 24 hours" more=${`by hour, ${theZone()}`}>
    <${Chart}
      title="Submits and refusals by hour"
      labels=${times.map(minute)}
      series=${[
        { name: "submitted", values: of("held_generations") },
        { name: "refused", values: of("refused_calls") },
      ]}
      format=${count}
      height=${180}
    />
  <//>`;
}
