// Tenants: the list, who is refused, and one tenant with everything of it.

import { html, useMemo } from "./vendor.js";
import { call } from "./calls.js";
import { Act, Card, ChangeDialog, Page, Pages, Pill, Shown, Table, Time, useCall } from "./kit.js";
import { Filter, MODES, Tabs } from "./parts.js";
import { count, go, modeIn, momentIn, refine, to } from "./state.js";
import { Tenant } from "./console-tenant.js";

const MAX = 100;
const PAGE = 50;
const ABOUT_MS = 5 * 60_000; // what "at about" a moment is

export function Tenants({ place }) {
  if (place.parts[1]) return html`<${Tenant} key=${place.parts[1]} name=${place.parts[1]} query=${place.query} />`;
  const { query } = place;
  return html`<${Page}
    title="Tenants"
    actions=${html`<${Act} label="New tenant" scope="operate">
      ${(close) => html`<${ChangeDialog}
        title="New tenant"
        text="It has no keys yet, and the limits of the gateway's settings."
        verb="Create"
        fields=${[
          { name: "name", label: "Name", hint: "Lower case letters, digits, hyphens.", required: true },
          { name: "time_zone", label: "Time zone", value: "UTC", hint: "Of its days and months, such as Europe/Berlin." },
        ]}
        onClose=${close}
        onDo=${async (body) => {
          const made = await call("admin/v1/tenants", { body });
          go(to(["tenants", made.name]));
        }}
      />`}
    <//>`}
  >
    <${Tabs} query=${{ tab: query.refused ? "refused" : query.tab }} tabs=${[["all", "All"], ["refused", "Who is refused"]]} />
    ${(query.refused ? "refused" : query.tab) === "refused" ? html`<${Refused} query=${query} />` : html`<${All} query=${query} />`}
  <//>`;
}

function All({ query }) {
  const found = useCall((signal) => call("admin/v1/tenants", { query: { limit: PAGE, cursor: query.cursor }, signal }), [query.cursor]);
  const wanted = (query.q ?? "").toLowerCase();
  return html`
    <div class="filters" role="search">
      <${Filter} query=${query} name="q" label="Name on this page" search=${true} first=${true} grow=${true} placeholder="Search  /" />
      <div class="grow">
        <form onSubmit=${(event) => {
          event.preventDefault();
          const name = String(new FormData(event.target).get("name")).trim();
          if (name) go(to(["tenants", name]));
        }}>
          <label>Go to a tenant<input name="name" placeholder="its whole name, then Enter" autocomplete="off" /></label>
        </form>
      </div>
    </div>
    <${Card} kind="flush">
      <${Shown} of=${found} rows=${8} isEmpty=${(data) => !data.tenants.length} empty=${html`<p>There is no tenant yet.</p>`}>
        ${(data) => html`
          <${Table}
            caption="Tenants"
            rows=${data.tenants.filter((one) => one.name.toLowerCase().includes(wanted))}
            keyOf=${(one) => one.id}
            open=${(one) => to(["tenants", one.name])}
            columns=${[
              ["Name", (one) => one.name],
              ["State", (one) => one.disabled_at ? html`<${Pill} tone="bad">disabled<//>` : one.dispatch_paused_at ? html`<${Pill} tone="warn">paused<//>` : html`<${Pill} tone="good">active<//>`],
              ["Time zone", (one) => one.time_zone, "wide"],
              ["Queueing", (one) => (one.in_effect.queueing ? `up to ${count(one.in_effect.max_queued)}` : "off")],
              ["Weight", (one) => one.weight, "right"],
              ["Origins", (one) => one.origins.length, "right"],
              ["Since", (one) => html`<${Time} at=${one.created_at} />`, "tight"],
            ]}
          />
          <${Pages} next=${data.next_cursor} cursor=${query.cursor} onGo=${(cursor) => refine({ cursor }, false)} />
        `}
      <//>
    <//>
  `;
}


function Refused({ query }) {
  const asked = { tenant: query.tenant, code: query.code, mode: query.mode, limit: MAX };
  const near = (ms) => new Date(Date.parse(momentIn(query.at)) + ms).toISOString();
  const [from, until] = query.at ? [near(-ABOUT_MS), near(ABOUT_MS)] : [momentIn(query.from), momentIn(query.until)];
  const found = useCall(
    (signal) => call("admin/v1/refusals", { query: { ...asked, created_after: from, created_before: until }, signal }),
    [asked, from, until],
    { every: until ? 0 : 10_000 },
  );
  const total = useMemo(() => (found.data?.refusals ?? []).reduce((sum, one) => sum + one.count, 0), [found.data]);
  return html`
    <div class="filters" role="search">
      <${Filter} query=${query} name="tenant" label="Tenant" first=${true} search=${true} />
      <${Filter} query=${query} name="code" label="Error code" />
      <${Filter} query=${query} name="mode" label="Keys" kind="select" options=${[["", "all"], ...MODES]} />
      <${Filter} query=${query} name="at" label="At about (± 5 minutes)" type="datetime-local" />
      <${Filter} query=${query} name="from" label="From (else a day ago)" type="datetime-local" />
      <${Filter} query=${query} name="until" label="Until" type="datetime-local" />
    </div>
    <${Card} kind="flush" title="Most often refused" more=${found.data ? `${count(total)} calls` : ""}>
      <${Shown} of=${found} isEmpty=${(data) => !data.refusals.length} empty=${html`<p>No call was refused in this time.</p>`}>
        ${(data) => html`<${Table}
          caption="Refused calls"
          rows=${data.refusals}
          keyOf=${(one) => `${one.tenant} ${one.kid} ${one.code} ${one.network}`}
          columns=${[
            ["Who", (one) => (one.tenant ? html`<a href=${to(["tenants", one.tenant])}>${one.tenant}</a>` : one.network ?? "no valid key")],
            ["Key", (one) => (one.kid ? html`<code>${one.kid}</code>` : "")],
            ["Error", (one) => html`<code>${one.code}</code>`],
            ["", (one) => (one.tenant ? html`<a href=${to(["tenants", one.tenant], { mode: modeIn(one.mode) })}>limits</a>` : "")],
            ["Calls", (one) => count(one.count), "right"],
            ["Worst minute", (one) => count(one.max_per_minute), "right"],
            ["First", (one) => html`<${Time} at=${one.first_at} />`, "tight"],
            ["Last", (one) => html`<${Time} at=${one.last_at} />`, "tight"],
          ]}
        />`}
      <//>
    <//>
  `;
}
