// One tenant: its limits with what is held and spent, and everything that belongs to it, a tab each.

import { html, useState } from "./vendor.js";
import { address, call } from "./calls.js";
import { Act, Card, ChangeDialog, Dialog, Facts, LimitBar, Page, Pages, Pill, SecretDialog, Shown, State, Table, tagOf, Time, Trouble, useCall } from "./kit.js";
import { ModePick, Tabs } from "./parts.js";
import { count, credits, go, modeIn, modeOf, refine, to, useSession } from "./state.js";

const SCOPES = ["submit", "read", "tokens:create", "usage:read", "account:manage"];
const DAY_MS = 86_400_000;
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
      <a href=${to("tenants", { refused: "1", tenant: name })}>its refusals</a> · <a href=${to("webhooks", { tenant: name, mode: modeIn(mode) })}>its webhooks</a> · <a href=${to("audit", { tenant: name })}>its audit</a>`}
    actions=${html`<${ModePick} query=${query} />
      ${tenant.data && html`<${TopUp} name=${name} test=${test} /><${Able} tenant=${tenant} path=${path} />`}`}
  >
    <${Shown} of=${tenant} rows=${3}>
      ${(one) => html`
        ${one.disabled_at && html`<div class="notice bad"><strong>Disabled</strong> since <${Time} at=${one.disabled_at} />: its keys are refused.</div>`}
        <${Tabs} query=${query} tabs=${TABS} />
        <${Tab} key=${tab} one=${one} tenant=${tenant} name=${name} test=${test} mode=${mode} query=${query} path=${path} />
      `}
    <//>
  <//>`;
}

const TopUp = ({ name, test }) => html`<${Act} label="Top up" scope="money">
  ${(close) => html`<${ChangeDialog}
    title=${`Top up ${name}, ${test ? "test" : "live"} keys`}
    verb="Top up"
    fields=${[
      { name: "amount", label: "Credits", hint: "Such as 12.5.", required: true, inputmode: "decimal" },
      { name: "reference", label: "Reference", hint: "The payment's number: with the same one it is entered only once." },
      { name: "note", label: "Note", hint: "The tenant sees it." },
    ]}
    onClose=${close}
    onDo=${async ({ amount, reference, note, reason }) => {
      await call("admin/v1/ledger/top-ups", { body: { tenant: name, test, amount, reference: reference || null, note: note || null, reason } });
      refine({ tab: "ledger", seen: Date.now() });
    }}
  />`}
<//>`;

const Able = ({ tenant, path }) => {
  const off = Boolean(tenant.data.disabled_at);
  return html`<${Act} label=${off ? "Enable" : "Disable"} scope="operate" danger=${!off}>
    ${(close) => html`<${ChangeDialog}
      title=${off ? "Enable this tenant" : "Disable this tenant"}
      text=${off ? "Keys that have not ended work again, and its queue is sent." : "Its keys and client tokens are refused within five seconds, its streams end, and its queue stands still. Jobs that were sent go on, and are charged."}
      verb=${off ? "Enable" : "Disable"}
      danger=${!off}
      onClose=${close}
      onDo=${async (body) => {
        await call(`${path}/${off ? "enable" : "disable"}`, { body: { reason: body.reason }, tag: tagOf(tenant.data) });
        tenant.reload();
      }}
    />`}
  <//>`;
};

function Limits({ name, test }) {
  const account = useCall((signal) => call("admin/v1/limits/account", { query: { tenant: name, test }, signal }), [name, test], { every: 10_000 });
  const overrides = useCall((signal) => call("admin/v1/limit-overrides", { query: { tenant: name }, signal }), [name]);
  const reload = () => (account.reload(), overrides.reload());
  const set = async ({ limit, reason }) => {
    const limits = limit.split(/[\s,]+/).filter(Boolean);
    await call("admin/v1/limits/account", { body: { tenant: name, test, limits, reason }, put: true, tag: tagOf(account.data) });
    reload();
  };
  return html`<div class="cards wide">
    <${Card} title="How they stand" more=${html`<${Act} label="Set" scope="operate">
        ${(close) => html`<${ChangeDialog} title="Set limits" verb="Set" onClose=${close} onDo=${set} fields=${[
          { name: "limit", label: "Limits", hint: "Such as credits-day=12.5, submits-minute=60/10 or in-flight=none; several with spaces between.", required: true },
        ]} />`}
      <//>`}>
      <${Shown} of=${account} isEmpty=${(data) => !data.standings.length} empty=${EMPTY("No limit applies to the whole tenant.")}>
        ${(data) => html`<ul class="limits">${data.standings.map((one) => html`<${LimitBar} of=${one} />`)}</ul>
          ${data.limits.length > 0 && html`<h3>Set for it</h3>
          <${Table} caption="Limits" rows=${data.limits} keyOf=${(one) => one.metric} columns=${[
            ["Metric", (one) => html`<code>${one.metric}</code>`],
            ["Amount", (one) => (one.amount === null ? "none" : one.metric.startsWith("credits") ? credits(one.amount) : count(one.amount)), "right"],
            ["Burst", (one) => one.burst ?? "", "right"],
            ["", (one) => html`<${Act} label="Remove" scope="operate" danger=${true}>
              ${(close) => html`<${ChangeDialog} title=${`Remove ${one.metric}`} text="Defaults apply again, where there are any." verb="Remove" danger=${true} onClose=${close}
                onDo=${async ({ reason }) => {
                  await call("admin/v1/limits/account/remove", { body: { tenant: name, test, metrics: [one.metric], reason }, tag: tagOf(data) });
                  reload();
                }} />`}
            <//>`, "right"],
          ]} />`}`}
      <//>
    <//>
    <${Card} title="Overrides" kind="flush" more=${html`<${Act} label="Override a limit" scope="operate">
        ${(close) => html`<${ChangeDialog} title="Override a limit for a while" verb="Override" onClose=${close} fields=${[
          { name: "override", label: "Limit", hint: "Such as credits-day=50.", required: true },
          { name: "hours", label: "Hours", value: "24", kind: "number", min: "0.1", step: "any", required: true },
        ]} onDo=${async ({ override, hours, reason }) => {
          const until = new Date(Date.now() + Number(hours) * 3_600_000).toISOString();
          await call("admin/v1/limit-overrides", { body: { tenant: name, test, override, until, reason } });
          reload();
        }} />`}
      <//>`}>
      <${Shown} of=${overrides} isEmpty=${(data) => !data.overrides.length} empty=${EMPTY("No limit is overridden.")}>
        ${(data) => html`<${Table} caption="Overrides" rows=${data.overrides} keyOf=${(one) => one.override_id} columns=${[
          ["Limit", (one) => html`<code>${one.metric}</code> ${one.mode}`],
          ["Amount", (one) => (one.amount === null ? "none" : one.metric.startsWith("credits") ? credits(one.amount) : count(one.amount)), "right"],
          ["Until", (one) => html`<${Time} at=${one.until} />`, "tight"],
          ["", (one) => html`<${Act} label="End" scope="operate">${(close) => html`<${ChangeDialog} title="End this override now" verb="End" onClose=${close} onDo=${async ({ reason }) => {
            await call(`admin/v1/limit-overrides/${one.override_id}/end`, { body: { reason } });
            reload();
          }} />`}<//>`, "right"],
        ]} />`}
      <//>
    <//>
  </div>`;
}

function Keys({ name, mode, query }) {
  const { me } = useSession();
  const [secret, setSecret] = useState(null);
  const [link, setLink] = useState(null);
  const keys = useCall((signal) => call("admin/v1/keys", { query: { tenant: name, mode, limit: 100, cursor: query.cursor }, signal }), [name, mode, query.cursor]);
  return html`<${Card} title=${`API keys, ${mode}`} kind="flush" more=${html`<${Act} label="New key" scope="operate">
      ${(close) => html`<${ChangeDialog} title=${`New ${mode} key of ${name}`} verb="Create" onClose=${close} fields=${[
        { name: "name", label: "Name", hint: "For people, such as what uses it." },
        { name: "scopes", label: "Scopes", kind: "checks", options: SCOPES, value: ["submit", "read"] },
        { name: "days", label: "Days until it expires", kind: "number", min: "1", hint: "Empty: never." },
      ]} onDo=${async ({ name: title, scopes, days, reason }) => {
        const body = { tenant: name, mode, name: title, scopes, reason, lifetime_ms: days ? Number(days) * DAY_MS : null };
        setSecret(await call("admin/v1/keys", { body }));
        keys.reload();
      }} />`}
    <//>`}>
    <${Shown} of=${keys} isEmpty=${(data) => !data.keys.length} empty=${EMPTY("It has no key of this mode.")}>
      ${(data) => html`<${Table} caption="API keys" rows=${data.keys} keyOf=${(one) => one.kid} columns=${[
        ["Kid", (one) => html`<code>${one.kid}</code>`],
        ["Name", (one) => one.name],
        ["State", (one) => html`<${State} of=${one.state} />`],
        ["Scopes", (one) => one.scopes.join(", ")],
        ["Ends with", (one) => html`<code>…${one.last_four}</code>`],
        ["Last used", (one) => html`<${Time} at=${one.last_used_at} rel=${true} />`, "tight"],
        ["Expires", (one) => html`<${Time} at=${one.expires_at} />`, "tight"],
        ["", (one) => one.state === "active" && html`<div class="actions">
          ${me.portal && html`<${Act} label="Portal link" scope="operate">
            ${(close) => html`<${ChangeDialog} title="A link that opens the portal once" text="Whoever opens it within a minute acts as this key, in their browser, for up to twelve hours." verb="Make" onClose=${close}
              onDo=${async ({ reason }) => setLink(await call("admin/v1/portal-links", { body: { kid: one.kid, reason } }))} />`}
          <//>`}
          <${Act} label="Rotate" scope="operate">
            ${(close) => html`<${ChangeDialog} title=${`Rotate ${one.kid}`} text="A second key like it, with the same limits; the old one works on for a while." verb="Rotate" onClose=${close}
              fields=${[{ name: "days", label: "Days that both work", kind: "number", value: "7", min: "0", step: "any" }]}
              onDo=${async ({ days, reason }) => {
                setSecret(await call(`admin/v1/keys/${one.kid}/rotate`, { body: { overlap_ms: Math.round(Number(days) * DAY_MS), reason } }));
                keys.reload();
              }} />`}
          <//>
          <${Act} label="Revoke" scope="operate" danger=${true}>
            ${(close) => html`<${ChangeDialog} title=${`Revoke ${one.kid}`} text="It is refused within five seconds, with its client tokens and portal sessions. Its jobs go on." verb="Revoke" danger=${true} onClose=${close}
              onDo=${async ({ reason }) => {
                await call(`admin/v1/keys/${one.kid}/revoke`, { body: { reason } });
                keys.reload();
              }} />`}
          <//></div>`, "right"],
      ]} /><${Pages} next=${data.next_cursor} cursor=${query.cursor} onGo=${(cursor) => refine({ cursor }, false)} />`}
    <//>
    ${secret && html`<${SecretDialog} title="The new key" text="Give it to whoever will use it." secret=${secret.key} onClose=${() => setSecret(null)} />`}
    ${link && html`<${SecretDialog} title="The link" text="It works once, within a minute." secret=${link.url} onClose=${() => setLink(null)} />`}
  <//>`;
}

/** End users by what they spent this month. */
function Users({ name, mode }) {
  const usage = useCall((signal) => call("admin/v1/usage", { query: { tenant: name, mode, by: "month", group_by: "end_user" }, signal }), [name, mode]);
  return html`<${Card} title="End users this month" kind="flush">
    <${Shown} of=${usage} isEmpty=${(data) => !data.rows.some((one) => one.end_user)} empty=${EMPTY("No client token of an end user made anything this month.")}>
      ${(data) => html`<${Table} caption="End users" rows=${data.rows.filter((one) => one.end_user).sort((a, b) => b.spent_microcredits - a.spent_microcredits)} keyOf=${(one) => one.end_user}
        open=${(one) => to("requests", { tenant: name, end_user: one.end_user, mode: modeIn(mode) })} columns=${[
          ["End user", (one) => one.end_user],
          ["Submitted", (one) => count(one.held_generations), "right"],
          ["Held", (one) => credits(one.held_microcredits), "right"],
          ["Spent", (one) => credits(one.spent_microcredits), "right"],
          ["Refunded", (one) => credits(one.refunded_microcredits), "right"],
        ]} />`}
    <//>
  <//>`;
}

function Tokens({ name, query }) {
  const tokens = useCall((signal) => call("admin/v1/client-tokens", { query: { tenant: name, limit: 50, cursor: query.cursor }, signal }), [name, query.cursor]);
  const [shown, setShown] = useState(null);
  return html`<${Card} title="Client tokens, newest first" kind="flush">
    <${Shown} of=${tokens} isEmpty=${(data) => !data.client_tokens.length} empty=${EMPTY("No client token was made.")}>
      ${(data) => html`<${Table} caption="Client tokens" rows=${data.client_tokens} keyOf=${(one) => one.token_id} columns=${[
        ["Token", (one) => html`<code>${one.token_id}</code>`],
        ["End user", (one) => one.end_user ?? ""],
        ["State", (one) => html`<${State} of=${one.state} />`],
        ["Mode", (one) => one.mode],
        ["Sees", (one) => (one.request_id ? "one request" : one.visibility)],
        ["Made", (one) => html`<${Time} at=${one.created_at} />`, "tight"],
        ["Refusals", (one) => count(one.refusals), "right"],
        ["", (one) => html`<div class="actions"><button class="button small" onClick=${async () => setShown(await call(`admin/v1/client-tokens/${one.token_id}`).catch((error) => ({ error })))}>Show</button>
          ${one.state === "active" && html`<${Act} label="Revoke" scope="operate" danger=${true}>${(close) => html`<${ChangeDialog} title="Revoke this client token" verb="Revoke" danger=${true} onClose=${close} onDo=${async ({ reason }) => {
            await call(`admin/v1/client-tokens/${one.token_id}/revoke`, { body: { reason } });
            tokens.reload();
          }} />`}<//>`}</div>`, "right"],
      ]} /><${Pages} next=${data.next_cursor} cursor=${query.cursor} onGo=${(cursor) => refine({ cursor }, false)} />`}
    <//>
    ${shown && html`<${Dialog} title="Client token" onClose=${() => setShown(null)}>
      ${shown.error ? html`<${Trouble} error=${shown.error} />` : html`<pre class="json" tabindex="0">${JSON.stringify(shown, null, 2)}</pre>`}
      <div class="actions"><button class="button" onClick=${() => setShown(null)}>Close</button></div><//>`}
  <//>`;
}

function Ledger({ name, query }) {
  const entries = useCall((signal) => call("admin/v1/ledger", { query: { tenant: name, limit: 50, cursor: query.cursor }, signal }), [name, query.cursor, query.seen]);
  return html`<${Card} title="Every change of its balances, newest first" kind="flush">
    <${Shown} of=${entries} isEmpty=${(data) => !data.entries.length} empty=${EMPTY("Nothing was entered.")}>
      ${(data) => html`<${Table} caption="Ledger" rows=${data.entries} keyOf=${(one) => one.entry} columns=${[
        ["At", (one) => html`<${Time} at=${one.at} />`, "tight"],
        ["Entry", (one) => one.kind],
        ["Credits", (one) => html`<span class=${one.microcredits < 0 ? "below" : ""}>${credits(one.microcredits)}</span>`, "right"],
        ["Mode", (one) => one.mode],
        ["Request", (one) => one.request_id && html`<a href=${to("requests", { q: one.request_id, open: one.request_id })}>${one.request_id.slice(-12)}</a>`],
        ["Reference", (one) => one.reference ?? ""],
        ["Note", (one) => one.note ?? ""],
      ]} /><${Pages} next=${data.next_cursor} cursor=${query.cursor} onGo=${(cursor) => refine({ cursor }, false)} />`}
    <//>
  <//>`;
}

function Statements({ name, test, query }) {
  const found = useCall((signal) => call("admin/v1/statements", { query: { tenant: name, test, cursor: query.cursor }, signal }), [name, test, query.cursor]);
  const file = (one, format) => address(`admin/v1/statements/${one.month}`, { tenant: name, test, format });
  return html`<${Card} title="Closed months" kind="flush">
    <${Shown} of=${found} isEmpty=${(data) => !data.statements.length} empty=${EMPTY("No month is closed yet: one closes soon after it has ended.")}>
      ${(data) => html`<${Table} caption="Statements" rows=${data.statements} keyOf=${(one) => one.month} columns=${[
        ["Month", (one) => one.month, "tight"],
        ["Opening", (one) => credits(one.opening_microcredits), "right"],
        ["Held", (one) => credits(one.held_microcredits), "right"],
        ["Refunded", (one) => credits(one.refunded_microcredits), "right"],
        ["Added", (one) => credits(one.added_microcredits), "right"],
        ["Adjusted", (one) => credits(one.adjusted_microcredits), "right"],
        ["Closing", (one) => credits(one.closing_microcredits), "right"],
        ["", (one) => html`<a class="button small" href=${file(one, "csv")} download>CSV</a> <a class="button small" href=${file(one, "pdf")} download>PDF</a>`, "right"],
      ]} /><${Pages} next=${data.next_cursor} cursor=${query.cursor} onGo=${(cursor) => refine({ cursor }, false)} />`}
    <//>
  <//>`;
}

function Settings({ one, tenant, path }) {
  const edit = async (what, body) => {
    const after = await call(`${path}/${what}`, { body, put: true, tag: tagOf(one) });
    if (what === "name") go(to(["tenants", after.name]));
    else tenant.reload();
  };
  const either = (value) => (value === null ? "" : String(value));
  const chosen = (text) => (text === "" ? null : text === "true");
  return html`<div class="cards">
    <${Card} title="The tenant" more=${html`<${Act} label="Rename" scope="operate">${(close) => html`<${ChangeDialog} title="Rename" verb="Rename" onClose=${close} fields=${[{ name: "new_name", label: "New name", value: one.name, required: true }]} onDo=${({ new_name, reason }) => edit("name", { new_name, reason })} />`}<//>
      <${Act} label="Time zone" scope="operate">${(close) => html`<${ChangeDialog} title="Time zone" verb="Set" onClose=${close} fields=${[{ name: "time_zone", label: "IANA time zone", value: one.time_zone, required: true }]} onDo=${(body) => edit("time-zone", body)} />`}<//>`}>
      <${Facts} of=${[["Id", html`<code>${one.id}</code>`], ["Since", html`<${Time} at=${one.created_at} />`], ["Time zone", one.time_zone]]} />
    <//>
    <${Card} title="Web origins" more=${html`<${Act} label="Change" scope="operate">${(close) => html`<${ChangeDialog} title="Web origins" verb="Replace" onClose=${close} fields=${[{ name: "origins", label: "One in each line", kind: "area", value: one.origins.join("\n"), hint: "Such as https://app.example.com" }]} onDo=${({ origins, reason }) => edit("origins", { origins: origins.split(/\s+/).filter(Boolean), reason })} />`}<//>`}>
      ${one.origins.length ? html`<ul>${one.origins.map((each) => html`<li><code>${each}</code></li>`)}</ul>` : html`<p class="hint">No web page may call with its keys.</p>`}
    <//>
    <${Card} title="Queueing" more=${html`<${Act} label="Change" scope="operate">${(close) => html`<${ChangeDialog} title="Queueing" verb="Set" onClose=${close} fields=${[
        { name: "queueing", label: "Requests that cannot be sent yet", kind: "select", value: either(one.queueing), options: [["", "as the gateway's settings say"], ["true", "are queued"], ["false", "are refused"]] },
        { name: "max_queued", label: "How many may be queued", kind: "number", min: "0", value: either(one.max_queued), hint: "Empty: it stays." },
        { name: "weight", label: "Weight", kind: "number", min: "1", value: String(one.weight) },
      ]} onDo=${({ queueing, max_queued, weight, reason }) => edit("queueing", { queueing: chosen(queueing), max_queued: max_queued === "" ? null : Number(max_queued), weight: Number(weight), reason })} />`}<//>`}>
      <${Facts} of=${[["In effect", one.in_effect.queueing ? `up to ${count(one.in_effect.max_queued)}` : "off"], ["Weight", one.weight], ["Dispatch", one.dispatch_paused_at ? html`<${Pill} tone="warn">paused<//>` : "goes on"]]} />
    <//>
    <${Card} title="Checks of files" more=${html`<${Act} label="Change" scope="operate">${(close) => html`<${ChangeDialog} title="Checks of files" verb="Set" onClose=${close} fields=${[
        { name: "media_checks", label: "Files that break a rule of their model", kind: "select", value: one.media_checks ?? "", options: [["", "as the gateway's settings say"], "enforce", "warn", "off"] },
      ]} onDo=${({ media_checks, reason }) => edit("media-checks", { media_checks: media_checks || null, reason })} />`}<//>`}>
      <${Facts} of=${[["In effect", one.in_effect.media_checks]]} />
    <//>
  </div>`;
}
