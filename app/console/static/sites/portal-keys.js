// The tenant's API keys and web origins, for whoever has the scope `account:manage`, and the client tokens that web pages
// hold in place of a key, for whoever has `tokens:create`.

import { html, useState } from "./vendor.js";
import { call } from "./calls.js";
import { DAY_S, narrowed, narrowFields, newKey, newKeyFields, TokenDialog } from "./parts.js";
import { Card, Change, List, Page, Pages, SecretDialog, Shown, State, useCall } from "./kit.js";
import { Lacking } from "./portal-account.js";
import { count, useSession } from "./state.js";

const inS = ({ lives_s, ...terms }) => (lives_s ? { ...terms, lifetime_s: Math.round(lives_s) } : terms);

export function Keys({ place }) {
  const { can } = useSession();
  return html`<${Page} title="Keys and origins">
    ${can("account:manage") ? html`<${OwnKeys} query=${place.query} /><${Origins} />` : html`<${Lacking} scope="account:manage" what="Managing keys" />`}
    ${can("tokens:create") && html`<${Tokens} query=${place.query} />`}
  <//>`;
}

function OwnKeys({ query }) {
  const { me } = useSession();
  const [secret, setSecret] = useState(null);
  const [link, setLink] = useState(null);
  const keys = useCall((signal) => call("v1/keys", { query: { cursor: query.cursor }, signal }), [query.cursor]);
  const change = async (one, verb, body) => {
    const after = await call(`v1/keys/${one.kid}/${verb}`, { body });
    if (verb === "rotate") setSecret(after);
    keys.reload();
  };
  return html`<${List} title=${`API keys, ${me.mode}`} caption="API keys" more=${html`<${Change} label="Link for a colleague" scope="account:manage" title="A link that opens the portal once" text="Whoever opens it within a minute acts as this session's key, in their browser." needsReason=${false} verb="Make" fields=${[{ name: "scopes", label: "Scopes", kind: "checks", options: me.scopes, value: me.scopes }]} onDo=${async ({ scopes }) => setLink(await call("v1/portal-links", { body: { scopes } }))} /> <${Change} label="New key" scope="account:manage" needsReason=${false} verb="Create" fields=${newKeyFields(me.scopes)} onDo=${async (given) => {
        setSecret(await call("v1/keys", { body: inS(newKey(given)) }));
        keys.reload();
      }} />`} of=${keys} rows=${(data) => data.keys} query=${query} keyOf=${(one) => one.kid} columns=${[
        ["Kid", (one) => html`<code>${one.kid}</code>${one.kid === me.kid ? html` <span class="hint">this session's</span>` : ""}`],
        ["Name", "name"],
        ["State", "state", "state"],
        ["Scopes", (one) => one.scopes.join(", ")],
        ["Models", (one) => (one.models === null ? "all" : one.models.join(", "))],
        ["Last used", "last_used_at", "ago"],
        ["Expires", "expires_at", "time"],
        ["", (one) => one.state === "active" && html`<div class="actions">
          <${Change} label="Narrow" title=${`Narrow ${one.name || one.kid}`} text="What it may do can only be taken away." needsReason=${false} 
            fields=${narrowFields(one)}
            onDo=${(given) => change(one, "narrow", inS(narrowed(given, one)))} />
          <${Change} label="Rotate" title=${`Rotate ${one.name || one.kid}`} text="A second key like it; the old one works on for a while." needsReason=${false} 
            fields=${[{ name: "days", label: "Days that both work", kind: "number", value: "7", min: "0", step: "any" }]}
            onDo=${({ days }) => change(one, "rotate", { overlap_s: Math.round(Number(days) * DAY_S) })} />
          <${Change} label="Revoke" danger=${true} title=${`Revoke ${one.name || one.kid}`}
            text=${one.kid === me.kid ? "You are signed in with this key: the session ends with it." : "It is refused within five seconds, with its client tokens. Its requests go on."}
            fields=${[{ name: "again", label: `Type the kid, ${one.kid}, to confirm`, pattern: one.kid, required: true }]}
            needsReason=${false}  onDo=${() => change(one, "revoke", {})} />
        </div>`, "right"],
      ]}>
    ${secret && html`<${SecretDialog} title="The new key" text="Store it where your program reads its secrets." secret=${secret.key} onClose=${() => setSecret(null)} />`}
    ${link && html`<${SecretDialog} title="The link" text="It works once, within a minute." secret=${link.url} onClose=${() => setLink(null)} />`}
  <//>`;
}

function Origins() {
  const found = useCall((signal) => call("v1/origins", { signal }), []);
  return html`<${Card} title="Web origins" more=${found.data && html`<${Change} label="Change" scope="account:manage" title="Web origins" needsReason=${false} verb="Replace" 
        fields=${[{ name: "origins", label: "One in each line", kind: "area", value: found.data.origins.join("\n"), hint: "Such as https://app.example.com" }]}
        onDo=${async ({ origins }) => {
          await call("v1/origins", { body: { origins: origins.split(/\s+/).filter(Boolean) } });
          found.reload();
        }} />`}>
    <p class="hint">Pages of these origins may call with the tenant's keys and client tokens, in both modes.</p>
    <${Shown} of=${found} rows=${2} isEmpty=${(data) => !data.origins.length} empty=${html`<p>There is none.</p>`}>
      ${(data) => html`<ul>${data.origins.map((one) => html`<li><code>${one}</code></li>`)}</ul>`}
    <//>
  <//>`;
}

const FIELDS = [
  { name: "end_user", label: "End user", hint: "A label of yours: each has limits of its own. Empty: nobody's." },
  { name: "minutes", label: "Minutes that it lasts", kind: "number", min: "1", max: "60", value: "10", required: true },
  { name: "max_generations", label: "Most requests", kind: "number", min: "0", hint: "Empty: as many as the limits allow." },
  { name: "credits", label: "Most credits", kind: "number", min: "0", step: "any", hint: "Empty: as many as the limits allow." },
];

export function Tokens({ query }) {
  const [secret, setSecret] = useState(null);
  const [shown, setShown] = useState("");
  const asked = { limit: 25, cursor: query.tokens };
  const tokens = useCall((signal) => call("v1/client-tokens", { query: asked, signal }), [asked]);
  const create = async ({ end_user, minutes, max_generations, credits }) => {
    const body = { lifetime_s: Number(minutes) * 60 };
    if (end_user.trim()) body.end_user = end_user.trim();
    if (max_generations) body.max_generations = Number(max_generations);
    if (credits) body.max_microcredits = Math.round(Number(credits) * 1e6);
    setSecret(await call("v1/client-tokens", { body }));
    tokens.reload();
  };
  return html`<${List} title="Client tokens, newest first" caption="Client tokens" more=${html`<${Change} label="New token" text="For a page to try: your backend makes them for its own users." needsReason=${false} verb="Create" fields=${FIELDS} onDo=${create} />`} of=${tokens} drawn=${2} rows=${(data) => data.client_tokens} empty="No client token was made." query=${query} param="tokens" keyOf=${(one) => one.token_id} columns=${[
        ["Token", "token_id", "code"],
        ["End user", "end_user"],
        ["State", "state", "state"],
        ["Expires", "expires_at", "time"],
        ["Refusals", "refusals", "count"],
        ["", (one) => html`<div class="actions"><button class="button small" onClick=${() => setShown(one.token_id)}>Show</button>
          ${one.state === "active" && html`<${Change} label="Revoke" danger=${true} title="Revoke this client token" text="It is refused within five seconds. Its requests go on." needsReason=${false} onDo=${async () => {
            await call(`v1/client-tokens/${one.token_id}/revoke`, { body: {} });
            tokens.reload();
          }} />`}</div>`, "right"],
      ]}>
    ${secret && html`<${SecretDialog} title="The new client token" text="It may stand in a web page, until it ends." secret=${secret.token} onClose=${() => setSecret(null)} />`}
    ${shown && html`<${TokenDialog} path=${`v1/client-tokens/${shown}`} onClose=${() => setShown("")} />`}
  <//>`;
}
