// Tenants: the list, who is refused, who reached a limit; and one tenant with everything that belongs to it, a tab each.

import { html, useMemo, useState } from "./vendor.js";
import { address, call } from "./calls.js";
import { Adjust, Keys, Limits, MIRRORS, TopUp } from "./console-account.js";
import { DAY_S, Entries, Filter, Filters, ModePick, MODES, Months, Refusal, Tabs, TokenDialog } from "./parts.js";
import { amountOf, Card, Change, Facts, List, Page, Pill, Shown, State, tagOf, Time, useCall } from "./kit.js";
import { count, credits, go, modeIn, modeOf, momentIn, span, to } from "./state.js";

const MAX = 100;
const PAGE = 50;
const ABOUT_MS = 5 * 60_000; // what "at about" a moment is

export function Tenants({ place }) {
  if (place.parts[1]) return html`<${Tenant} key=${place.parts[1]} name=${place.parts[1]} query=${place.query} />`;
  const { query } = place;
  return html`<${Page}
    title="Tenants"
    actions=${html`<${Change} label="New tenant" scope="operate"
        text="It has no keys yet, and the limits of the gateway's settings."
        verb="Create"
        fields=${[
          { name: "name", label: "Name", hint: "Lower case letters, digits, hyphens.", required: true },
          { name: "time_zone", label: "Time zone", value: "UTC", hint: "Of its days and months, such as Europe/Berlin." },
        ]} 
        onDo=${async (body) => {
          const made = await call("admin/v1/tenants", { body });
          go(to(["tenants", made.name]));
        }} />`}
  >
    <${Tabs} query=${query} tabs=${[["all", "All"], ["refused", "Who is refused"], ["reached", "Who reached a limit"]]} />
    <${{ refused: Refused, reached: Reached }[query.tab] ?? All} query=${query} />
  <//>`;
}

function All({ query }) {
  const found = useCall((signal) => call("admin/v1/tenants", { query: { limit: PAGE, cursor: query.cursor }, signal }), [query.cursor]);
  const wanted = (query.q ?? "").toLowerCase();
  return html`
    <${Filters} query=${query}>
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
    <//>
    <${List} caption="Tenants" of=${found} drawn=${8} rows=${(data) => data.tenants.filter((one) => one.name.toLowerCase().includes(wanted)).sort((a, b) => a.name.localeCompare(b.name))} empty="There is no tenant yet." query=${query} keyOf=${(one) => one.id} open=${(one) => to(["tenants", one.name])} columns=${[
              ["Name", "name"],
              ["State", (one) => one.disabled_at ? html`<${Pill} tone="bad">disabled<//>` : one.dispatch_paused_at ? html`<${Pill} tone="warn">dispatch paused<//>` : html`<${Pill} tone="good">active<//>`],
              ["Time zone", "time_zone", "wide"],
              ["Queueing", (one) => (one.in_effect.queueing ? `up to ${count(one.in_effect.max_queued)}` : "off")],
              ["Weight", "weight", " right"],
              ["Origins", (one) => one.origins.length, "right"],
              ["Since", "created_at", "time"],
            ]} />
  `;
}

/** The thresholds of limits that were crossed, the newest first. */
function Reached({ query }) {
  const found = useCall((signal) => call("admin/v1/thresholds", { query: { tenant: query.tenant, limit: PAGE, cursor: query.cursor }, signal }), [query.tenant, query.cursor]);
  return html`
    <${Filters} query=${query}><${Filter} query=${query} name="tenant" label="Tenant" first=${true} search=${true} grow=${true} placeholder="Search  /" /><//>
    <${List} caption="Crossed thresholds" of=${found} rows=${(data) => data.thresholds} empty="No limit was nearly used up." query=${query} keyOf=${(one) => `${one.tenant} ${one.mode} ${one.number}`} open=${(one) => to(["tenants", one.tenant], { mode: modeIn(one.mode) })} columns=${[
          ["At", "at", "time"],
          ["Tenant", "tenant"],
          ["Limit", "policy", "code"],
          ["Of", (one) => [one.kid, one.model_id, one.end_user].filter(Boolean).join(" · ") || "the whole tenant"],
          ["Reached", (one) => html`<${Pill} tone=${one.percent >= 100 ? "bad" : "warn"}>${one.percent} %<//>`],
          ["Used", (one) => `${amountOf(one.policy, one.used)} of ${amountOf(one.policy, one.amount)}`, "right"],
          ["Period", "period"],
        ]} />
  `;
}

function Refused({ query }) {
  const asked = { tenant: query.tenant, code: query.code, mode: query.mode, limit: MAX };
  const near = (ms) => new Date(Date.parse(momentIn(query.at)) + ms).toISOString();
  const [from, until] = query.at ? [near(-ABOUT_MS), near(ABOUT_MS)] : [momentIn(query.from), momentIn(query.until)];
  const found = useCall(
    (signal) => call("admin/v1/refusals", { query: { ...asked, created_after: from, created_before: until }, signal }),
    [asked, from, until],
    { live: until ? "" : "refusals" },
  );
  const total = useMemo(() => (found.data?.refusals ?? []).reduce((sum, one) => sum + one.count, 0), [found.data]);
  return html`
    <${Filters} query=${query}>
      <${Filter} query=${query} name="tenant" label="Tenant" first=${true} search=${true} />
      <${Filter} query=${query} name="code" label="Error code" />
      <${Filter} query=${query} name="mode" label="Keys" kind="select" options=${[["", "all"], ...MODES]} />
      <${Filter} query=${query} name="at" label="At about (± 5 minutes)" type="datetime-local" />
      <${Filter} query=${query} name="from" label="From (else a day ago)" type="datetime-local" />
      <${Filter} query=${query} name="until" label="Until" type="datetime-local" />
    <//>
    <${List} title="Most often refused" caption="Refused calls" more=${found.data ? `${count(total)} calls` : ""} of=${found} rows=${(data) => data.refusals} empty="No call was refused in this time." keyOf=${(one) => `${one.tenant} ${one.kid} ${one.code} ${one.network}`} columns=${[
            ["Who", (one) => (one.tenant ? html`<a href=${to(["tenants", one.tenant])}>${one.tenant}</a>` : one.network ?? "no valid key")],
            ["Key", (one) => (one.kid ? html`<code>${one.kid}</code>` : "")],
            ["Error", (one) => html`<${Refusal} code=${one.code} />`],
            ["", (one) => (one.tenant ? html`<a href=${to(["tenants", one.tenant], { mode: modeIn(one.mode) })}>limits</a>` : "")],
            ["Calls", "count", "count"],
            ["Worst minute", "max_per_minute", "count"],
            ["First", "first_at", "time wide"],
            ["Last", "last_at", "time"],
          ]} />
  `;
}

const TABS = [
  ["limits", "Limits"],
  ["keys", "Keys"],
  ["users", "End users"],
  ["tokens", "Client tokens"],
  ["ledger", "Ledger"],
  ["statements", "Statements"],
  ["settings", "Settings"],
];
const EMPTY = (text) => html`<p>${text}</p>`;

export function Tenant({ name, query }) {
  const mode = modeOf(query);
  const test = mode === "test";
  const path = `admin/v1/tenants/${encodeURIComponent(name)}`;
  const tenant = useCall((signal) => call(path, { signal }), [name]);
  const tab = query.tab ?? "limits";
  const Tab = { limits: Limits, keys: Keys, users: Users, tokens: Tokens, ledger: Ledger, statements: Statements, settings: Settings }[tab] ?? Limits;
  return html`<${Page}
    title=${name}
    lead=${html`<a href=${to("tenants")}>Tenants</a> · <a href=${to("requests", { tenant: name, mode: modeIn(mode) })}>its requests</a> · <a href=${to("usage", { tenant: name, mode: modeIn(mode) })}>its usage</a> ·${" "}
      <a href=${to("tenants", { tab: "refused", tenant: name })}>its refusals</a> · <a href=${to("webhooks", { tenant: name, mode: modeIn(mode) })}>its webhooks</a> · <a href=${to("audit", { tenant: name })}>its audit</a>`}
    actions=${html`<${ModePick} query=${query} />
      ${tenant.data && html`<${TopUp} name=${name} test=${test} /><${Able} tenant=${tenant} path=${path} />`}`}
  >
    <${Shown} of=${tenant} rows=${3}>
      ${(one) => html`
        ${one.disabled_at && html`<div class="notice bad"><strong>Disabled</strong> since <${Time} at=${one.disabled_at} />: its keys are refused.</div>`}
        ${one.dispatch_paused_at && html`<div class="notice warn"><strong>Its dispatch is paused</strong> since <${Time} at=${one.dispatch_paused_at} />: <a href=${to(["tenants", name], { tab: "settings" })}>Settings</a> has it resumed.</div>`}
        <${Tabs} query=${query} tabs=${TABS} />
        <${Tab} key=${tab} one=${one} tenant=${tenant} name=${name} test=${test} mode=${mode} query=${query} path=${path} />
      `}
    <//>
  <//>`;
}

const Able = ({ tenant, path }) => {
  const off = Boolean(tenant.data.disabled_at);
  return html`<${Change} label=${off ? "Enable" : "Disable"} scope="operate" danger=${!off} title=${off ? "Enable this tenant" : "Disable this tenant"}
      text=${off ? "Keys that have not ended work again, and its queue is sent." : "Its keys and client tokens are refused within five seconds, its streams end, and its queue stands still. Jobs that were sent go on, and are charged."}
      onDo=${async (body) => {
        await call(`${path}/${off ? "enable" : "disable"}`, { body: { reason: body.reason }, tag: tagOf(tenant.data) });
        tenant.reload();
      }} />`;
};

/** End users by what they spent this month. */
function Users({ name, mode }) {
  const usage = useCall((signal) => call("admin/v1/usage", { query: { tenant: name, mode, by: "month", group_by: "end_user" }, signal }), [name, mode]);
  return html`<${List} title="End users this month" caption="End users" of=${usage} rows=${(data) => data.rows.filter((one) => one.end_user).sort((a, b) => b.spent_microcredits - a.spent_microcredits)} empty="No client token of an end user made anything this month." keyOf=${(one) => one.end_user} open=${(one) => to("requests", { tenant: name, end_user: one.end_user, mode: modeIn(mode) })} columns=${[
          ["End user", "end_user"],
          ["Submitted", "held_generations", "count"],
          ["Held", "held_microcredits", "credits"],
          ["Spent", "spent_microcredits", "credits"],
          ["Refunded", "refunded_microcredits", "credits"],
        ]} />`;
}

function Tokens({ name, query }) {
  const asked = { tenant: name, end_user: query.end_user, limit: 50, cursor: query.cursor };
  const tokens = useCall((signal) => call("admin/v1/client-tokens", { query: asked, signal }), [asked]);
  const [shown, setShown] = useState("");
  return html`<${Filters} query=${query}><${Filter} query=${query} name="end_user" label="End user" search=${true} first=${true} grow=${true} placeholder="Search  /" /><//>
  <${List} title="Client tokens, newest first" caption="Client tokens" of=${tokens} rows=${(data) => data.client_tokens} empty="No client token was made. Whoever has an API key with the scope tokens:create makes them, a minute to an hour before they end." query=${query} keyOf=${(one) => one.token_id} columns=${[
        ["Token", "token_id", "code"],
        ["End user", "end_user"],
        ["State", "state", "state"],
        ["Mode", "mode", "wide"],
        ["Sees", (one) => (one.request_id ? "one request" : one.visibility), "wide"],
        ["Made", "created_at", "time"],
        ["Refusals", "refusals", "count"],
        ["", (one) => html`<div class="actions"><button class="button small" onClick=${() => setShown(one.token_id)}>Show</button>
          ${one.state === "active" && html`<${Change} label="Revoke" scope="operate" danger=${true} title="Revoke this client token" onDo=${async ({ reason }) => {
            await call(`admin/v1/client-tokens/${one.token_id}/revoke`, { body: { reason } });
            tokens.reload();
          }} />`}</div>`, "right"],
      ]}>
    ${shown && html`<${TokenDialog} path=${`admin/v1/client-tokens/${shown}`} onClose=${() => setShown("")} />`}
  <//>`;
}

function Ledger({ name, test, query }) {
  const entries = useCall((signal) => call("admin/v1/ledger", { query: { tenant: name, limit: 50, cursor: query.cursor }, signal }), [name, query.cursor, query.seen]);
  return html`<${Entries} title="Every change of its balances, newest first" more=${html`<${Adjust} name=${name} test=${test} />`} of=${entries} query=${query} both=${true} />`;
}

function Statements({ name, test, query }) {
  const found = useCall((signal) => call("admin/v1/statements", { query: { tenant: name, test, cursor: query.cursor }, signal }), [name, test, query.cursor]);
  return html`<${Months} of=${found} query=${query} file=${(one, format) => address(`admin/v1/statements/${one.month}`, { tenant: name, test, format })} />`;
}

export function Settings({ one, tenant, path }) {
  const edit = async (what, body) => {
    const after = await call(`${path}/${what}`, { body, put: true, tag: tagOf(one) });
    if (what === "name") go(to(["tenants", after.name]));
    else tenant.reload();
  };
  const paused = Boolean(one.dispatch_paused_at);
  const either = (value) => (value === null ? "" : String(value));
  const chosen = (text) => (text === "" ? null : text === "true");
  return html`<div class="cards">
    <${Card} title="The tenant" more=${html`<${Change} label="Rename" scope="operate" fields=${[{ name: "new_name", label: "New name", value: one.name, required: true }]} onDo=${({ new_name, reason }) => edit("name", { new_name, reason })} />
      <${Change} label="Time zone" scope="operate" verb="Set" fields=${[{ name: "time_zone", label: "IANA time zone", value: one.time_zone, required: true }]} onDo=${(body) => edit("time-zone", body)} />`}>
      <${Facts} of=${[["Id", html`<code>${one.id}</code>`], ["Since", html`<${Time} at=${one.created_at} />`], ["Time zone", one.time_zone]]} />
    <//>
    <${Card} title="Web origins" more=${html`<${Change} label="Change" scope="operate" title="Web origins" verb="Replace" fields=${[{ name: "origins", label: "One in each line", kind: "area", value: one.origins.join("\n"), hint: "Such as https://app.example.com" }]} onDo=${({ origins, reason }) => edit("origins", { origins: origins.split(/\s+/).filter(Boolean), reason })} />`}>
      ${one.origins.length ? html`<ul>${one.origins.map((each) => html`<li><code>${each}</code></li>`)}</ul>` : html`<p class="hint">No web page may call with its keys.</p>`}
    <//>
    <${Card} title="Queueing" more=${html`<${Change} label=${paused ? "Resume dispatch" : "Pause dispatch"} scope="operate" text="Of its requests, in both modes." onDo=${async ({ reason }) => {
        await call(`admin/v1/dispatch/${paused ? "resume" : "pause"}`, { body: { tenant: one.name, reason } });
        tenant.reload();
      }} /> <${Change} label="Change" scope="operate" title="Queueing" verb="Set" fields=${[
        { name: "queueing", label: "Requests that cannot be sent yet", kind: "select", value: either(one.queueing), options: [["", "as the gateway's settings say"], ["true", "are queued"], ["false", "are refused"]] },
        { name: "max_queued", label: "How many may be queued", kind: "number", min: "0", value: either(one.max_queued), hint: "Empty: it stays." },
        { name: "weight", label: "Weight", kind: "number", min: "1", value: String(one.weight) },
      ]} onDo=${({ queueing, max_queued, weight, reason }) => edit("queueing", { queueing: chosen(queueing), max_queued: max_queued === "" ? null : Number(max_queued), weight: Number(weight), reason })} />`}>
      <${Facts} of=${[["In effect", one.in_effect.queueing ? `up to ${count(one.in_effect.max_queued)}` : "off"], ["Weight", one.weight], ["Dispatch", paused ? html`<${Pill} tone="warn">paused<//>` : "goes on"]]} />
    <//>
    <${Card} title="Checks of files" more=${html`<${Change} label="Change" scope="operate" title="Checks of files" verb="Set" fields=${[
        { name: "media_checks", label: "Files that break a rule of their model", kind: "select", value: one.media_checks ?? "", options: [["", "as the gateway's settings say"], "enforce", "warn", "off"] },
      ]} onDo=${({ media_checks, reason }) => edit("media-checks", { media_checks: media_checks || null, reason })} />`}>
      <${Facts} of=${[["In effect", one.in_effect.media_checks]]} />
    <//>
    <${Card} title="Copies of outputs" more=${html`<${Change} label="Change" scope="operate" title="Copies of outputs" verb="Set" fields=${[
        { name: "mirror", label: "Copies in the gateway's own store", kind: "select", value: one.mirror, options: MIRRORS },
        { name: "days", label: "Days that they are kept", kind: "number", min: "0", step: "any", value: one.mirror_keep_s === null ? "" : String(one.mirror_keep_s / DAY_S), hint: "Empty: as the settings say. 0: for ever." },
      ]} onDo=${({ mirror, days, reason }) => edit("mirror", { mirror, keep_s: days === "" ? null : Math.round(Number(days) * DAY_S), reason })} />`}>
      <${Facts} of=${[["Copies", MIRRORS.find(([key]) => key === one.mirror)?.[1]], ["Kept for", one.mirror_keep_s === 0 ? "ever" : one.mirror_keep_s === null ? "as long as the settings say" : span(one.mirror_keep_s * 1000)]]} />
    <//>
    <${Card} title="Erasing" more=${html`<${Change} label="Erase" scope="root" danger=${true} title="Erase what people put in and got" text="Inputs, outputs, copies, files and callers: of one end user, or, where the tenant is disabled, all. Amounts stay. This cannot be undone."
        fields=${[
          { name: "end_user", label: "End user", hint: "Empty: everything of the tenant." },
          { name: "again", label: `Type the tenant's name, ${one.name}, to confirm`, required: true, pattern: one.name },
        ]}
        onDo=${async ({ end_user, reason }) => {
          await call(`${path}/erase`, { body: { end_user: end_user.trim() || null, reason } });
          tenant.reload();
        }} />`}>
      <p class="hint">For whoever asks that their data go. The ledger keeps its amounts.</p>
    <//>
  </div>`;
}
