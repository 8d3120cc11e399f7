// The tenant's API keys and web origins, for whoever has the scope `account:manage`.

import { html, useState } from "./vendor.js";
import { call } from "./calls.js";
import { Act, Card, ChangeDialog, Page, Pages, SecretDialog, Shown, State, Table, Time, useCall } from "./kit.js";
import { refine, useSession } from "./state.js";
import { Lacking } from "./portal-usage.js";

const DAY_S = 86_400;

export function Keys({ place }) {
  const { can } = useSession();
  if (!can("account:manage")) return html`<${Page} title="Keys and origins"><${Lacking} scope="account:manage" what="Managing keys" /><//>`;
  return html`<${Page} title="Keys and origins"><${List} query=${place.query} /><${Origins} /><//>`;
}

function List({ query }) {
  const { me } = useSession();
  const [secret, setSecret] = useState(null);
  const keys = useCall((signal) => call("v1/keys", { query: { cursor: query.cursor }, signal }), [query.cursor]);
  const change = async (one, verb, body) => {
    const after = await call(`v1/keys/${one.kid}/${verb}`, { body });
    if (verb === "rotate") setSecret(after);
    keys.reload();
  };
  return html`<${Card} title=${`API keys, ${me.mode}`} kind="flush" more=${html`<${Act} label="New key" scope="account:manage">
      ${(close) => html`<${ChangeDialog} title="New key" needsReason=${false} verb="Create" onClose=${close} fields=${[
        { name: "name", label: "Name", hint: "For people, such as what uses it." },
        { name: "scopes", label: "Scopes", kind: "checks", options: me.scopes, value: me.scopes.filter((one) => ["submit", "read"].includes(one)) },
        { name: "days", label: "Days until it expires", kind: "number", min: "1", hint: "Empty: never." },
      ]} onDo=${async ({ name, scopes, days }) => {
        setSecret(await call("v1/keys", { body: { name, scopes, lifetime_s: days ? Math.round(Number(days) * DAY_S) : null } }));
        keys.reload();
      }} />`}
    <//>`}>
    <${Shown} of=${keys}>
      ${(data) => html`<${Table} caption="API keys" rows=${data.keys} keyOf=${(one) => one.kid} columns=${[
        ["Kid", (one) => html`<code>${one.kid}</code>${one.kid === me.kid ? html` <span class="hint">this session's</span>` : ""}`],
        ["Name", (one) => one.name],
        ["State", (one) => html`<${State} of=${one.state} />`],
        ["Scopes", (one) => one.scopes.join(", ")],
        ["Models", (one) => (one.models === null ? "all" : one.models.join(", "))],
        ["Last used", (one) => html`<${Time} at=${one.last_used_at} rel=${true} />`, "tight"],
        ["Expires", (one) => html`<${Time} at=${one.expires_at} />`, "tight"],
        ["", (one) => one.state === "active" && html`<div class="actions">
          <${Act} label="Narrow">${(close) => html`<${ChangeDialog} title=${`Narrow ${one.name || one.kid}`} text="Scopes can only be taken away." needsReason=${false} verb="Narrow" onClose=${close}
            fields=${[{ name: "name", label: "Name", value: one.name }, { name: "scopes", label: "Scopes that stay", kind: "checks", options: one.scopes, value: one.scopes }]}
            onDo=${(body) => change(one, "narrow", { name: body.name, scopes: body.scopes })} />`}<//>
          <${Act} label="Rotate">${(close) => html`<${ChangeDialog} title=${`Rotate ${one.name || one.kid}`} text="A second key like it; the old one works on for a while." needsReason=${false} verb="Rotate" onClose=${close}
            fields=${[{ name: "days", label: "Days that both work", kind: "number", value: "7", min: "0", step: "any" }]}
            onDo=${({ days }) => change(one, "rotate", { overlap_s: Math.round(Number(days) * DAY_S) })} />`}<//>
          <${Act} label="Revoke" danger=${true}>${(close) => html`<${ChangeDialog} title=${`Revoke ${one.name || one.kid}`}
            text=${one.kid === me.kid ? "You are signed in with this key: the session ends with it." : "It is refused within five seconds, with its client tokens. Its requests go on."}
            fields=${[{ name: "again", label: `Type the kid, ${one.kid}, to confirm`, pattern: one.kid, required: true }]}
            needsReason=${false} verb="Revoke" danger=${true} onClose=${close} onDo=${() => change(one, "revoke", {})} />`}<//>
        </div>`, "right"],
      ]} /><${Pages} next=${data.next_cursor} cursor=${query.cursor} onGo=${(cursor) => refine({ cursor }, false)} />`}
    <//>
    ${secret && html`<${SecretDialog} title="The new key" text="Store it where your program reads its secrets." secret=${secret.key} onClose=${() => setSecret(null)} />`}
  <//>`;
}

function Origins() {
  const found = useCall((signal) => call("v1/origins", { signal }), []);
  return html`<${Card} title="Web origins" more=${found.data && html`<${Act} label="Change" scope="account:manage">
      ${(close) => html`<${ChangeDialog} title="Web origins" needsReason=${false} verb="Replace" onClose=${close}
        fields=${[{ name: "origins", label: "One in each line", kind: "area", value: found.data.origins.join("\n"), hint: "Such as https://app.example.com" }]}
        onDo=${async ({ origins }) => {
          await call("v1/origins", { body: { origins: origins.split(/\s+/).filter(Boolean) } });
          found.reload();
        }} />`}
    <//>`}>
    <p class="hint">Pages of these origins may call with the tenant's keys and client tokens, in both modes.</p>
    <${Shown} of=${found} rows=${2} isEmpty=${(data) => !data.origins.length} empty=${html`<p>There is none.</p>`}>
      ${(data) => html`<ul>${data.origins.map((one) => html`<li><code>${one}</code></li>`)}</ul>`}
    <//>
  <//>`;
}
