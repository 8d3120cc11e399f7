// Whether the gateway is well: doctor's checks, its version, and who may sign in here.

import { html, useState } from "./vendor.js";
import { call } from "./calls.js";
import { Act, Card, ChangeDialog, Facts, Page, SecretDialog, Shown, State, Table, tagOf, Time, useCall } from "./kit.js";
import { useSession } from "./state.js";

const DAY_MS = 86_400_000;

export function System() {
  const { me, can } = useSession();
  const checks = useCall((signal) => call("admin/v1/checks", { signal }), []);
  const bad = checks.data?.findings.filter((one) => one.level === "bad").length;
  return html`<${Page} title="System" lead=${`Reelgate ${me.version}`} actions=${html`<button class="button small" onClick=${checks.reload}>Check again</button>`}>
    <${Card} title="Checks" kind="flush" more=${checks.data ? (bad ? `${bad} bad` : "nothing is bad") : ""}>
      <${Shown} of=${checks} rows=${8}>
        ${(data) => html`<${Table} caption="Checks" rows=${data.findings} keyOf=${(one) => one.name} columns=${[
          ["Check", (one) => one.name],
          ["", (one) => html`<${State} of=${one.level} />`],
          ["Finding", (one) => one.finding],
        ]} />`}
      <//>
    <//>
    <${Card} title="This session">
      <${Facts} of=${[["Admin key", me.name], ["Kid", html`<code>${me.kid}</code>`], ["Scopes", me.scopes.join(", ")], ["Ends", html`<${Time} at=${me.expires_at} />`], ["Or when idle for", `${Math.round(me.idle_s / 60)} min`], ["The gateway's address", me.base_url]]} />
    <//>
    ${can("root") && html`<${AdminKeys} />`}
    <${Settings} />
  <//>`;
}

/** The settings in effect: those that something sets, or all. */
function Settings() {
  const [all, setAll] = useState(false);
  const found = useCall((signal) => call("admin/v1/settings", { signal }), []);
  const text = (value) => (value === null || value === "" ? "–" : Array.isArray(value) ? value.join(", ") : String(value));
  return html`<${Card} title="Settings of the server that answers" kind="flush" more=${html`<button class="button small" onClick=${() => setAll(!all)}>${all ? "Only what is set" : "With defaults"}</button>`}>
    <${Shown} of=${found}>
      ${(data) => html`<${Table} caption="Settings" rows=${data.settings.filter((one) => all || one.origin !== "default")} keyOf=${(one) => one.setting} columns=${[
        ["Setting", (one) => html`<code>${one.setting}</code>`],
        ["Value", (one) => text(one.value)],
        ["Set by", (one) => one.origin],
        ["A reload takes it over", (one) => (one.reloads ? "yes" : "")],
      ]} />`}
    <//>
  <//>`;
}

function AdminKeys() {
  const keys = useCall((signal) => call("admin/v1/admin-keys", { signal }), []);
  const [secret, setSecret] = useState(null);
  return html`<${Card} title="Admin keys" kind="flush" more=${html`<${Act} label="New admin key" scope="root">
      ${(close) => html`<${ChangeDialog} title="New admin key" verb="Create" onClose=${close} fields=${[
        { name: "name", label: "Whose it is", required: true },
        { name: "scopes", label: "Scopes", kind: "checks", options: ["read", "operate", "money", "root"], value: ["read"] },
        { name: "days", label: "Days until it expires", kind: "number", min: "1", value: "90", hint: "Empty: never." },
      ]} onDo=${async ({ name, scopes, days, reason }) => {
        setSecret(await call("admin/v1/admin-keys", { body: { name, scopes, reason, lifetime_ms: days ? Number(days) * DAY_MS : null } }));
        keys.reload();
      }} />`}
    <//>`}>
    <${Shown} of=${keys}>
      ${(data) => html`<${Table} caption="Admin keys" rows=${data.admin_keys} keyOf=${(one) => one.kid} columns=${[
        ["Name", (one) => one.name],
        ["Kid", (one) => html`<code>${one.kid}</code>`],
        ["State", (one) => html`<${State} of=${one.state} />`],
        ["Scopes", (one) => one.scopes.join(", ")],
        ["Last used", (one) => html`<${Time} at=${one.last_used_at} rel=${true} />`, "tight"],
        ["Expires", (one) => html`<${Time} at=${one.expires_at} />`, "tight"],
        ["", (one) => one.state === "active" && html`<${Act} label="Revoke" scope="root" danger=${true}>${(close) => html`<${ChangeDialog} title=${`Revoke ${one.name}`} text="With its sessions, on every server at once." verb="Revoke" danger=${true} onClose=${close} onDo=${async ({ reason }) => {
          await call(`admin/v1/admin-keys/${one.kid}/revoke`, { body: { reason }, tag: tagOf(one) });
          keys.reload();
        }} />`}<//>`, "right"],
      ]} />`}
    <//>
    ${secret && html`<${SecretDialog} title="The new admin key" text="Give it to whoever will use it." secret=${secret.key} onClose=${() => setSecret(null)} />`}
  <//>`;
}
