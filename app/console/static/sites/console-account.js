// What a tenant may do: its limits, with how they stand and overrides; its balance; its API keys.

import { html, useState } from "./vendor.js";
import { call } from "./calls.js";
import { DAY_S, Filter, Filters, narrowed, narrowFields, newKey, newKeyFields, SCOPES } from "./parts.js";
import { amountOf, Card, Change, LimitBar, List, SecretDialog, Shown, State, tagOf, useCall } from "./kit.js";
import { credits, refine, useSession } from "./state.js";

/** Which part of a tenant's account a change is of; by default the whole. */
const partFields = (query) => [
  { name: "kid", label: "Key", value: query.kid ?? "", hint: "Its kid; empty: all keys together.", rare: true },
  { name: "model_id", label: "Model", value: query.model_id ?? "", hint: "Empty: all models together.", rare: true },
  { name: "end_user", label: "End user", value: query.end_user ?? "", hint: "* is each without a limit of its own.", rare: true },
];
const RARELY = "Only for a key, a model or an end user";
const partOf = (values) => Object.fromEntries(["kid", "model_id", "end_user"].map((one) => [one, values[one]?.trim() || null]));
const toldPart = (one) =>
  [one.kid && `key ${one.kid}`, one.model_id, one.end_user && (one.end_user === "*" ? "each end user" : one.end_user)].filter(Boolean).join(" · ") || "the whole tenant";

/** Enters an amount in a balance. */
const enter = (name, test, path) => async ({ amount, reference, note, reason, ...part }) => {
  const said = { reference: reference || null, note: note || null, reason };
  await call(path, { body: { tenant: name, test, amount, ...said, ...partOf(part) } });
  refine({ tab: "ledger", seen: Date.now() });
};
const NOTE = { name: "note", label: "Note", hint: "The tenant sees it." };

/** What a top up is added to: where there is no balance, it makes one. */
function Balance({ name, test }) {
  const found = useCall((signal) => call("admin/v1/limits/account", { query: { tenant: name, test }, signal }), []);
  const one = found.data?.standings.find((each) => each.metric === "credits-total" && each.holder === "tenant" && each.model_id === null);
  if (!found.data) return found.error ? "" : "…";
  return one ? `The tenant's balance is ${credits(one.remaining)} credits; what you enter is added.` : html`<strong>This makes the tenant prepaid,</strong> unless you name a key, a model or an end user below: it has no limit of all its credits yet, and the first top up sets one. What it spent before counts; an adjustment evens it out.`;
}

export const TopUp = ({ name, test }) => html`<${Change} label="Top up" scope="money" title=${`Top up ${name}, ${test ? "test" : "live"} keys`} rarely=${RARELY} text=${html`<${Balance} name=${name} test=${test} />`}
  fields=${[
    { name: "amount", label: "Credits", hint: "Such as 12.5.", required: true, inputmode: "decimal" },
    { name: "reference", label: "Reference", hint: "The payment's number: with the same one it is entered only once." },
    NOTE,
    ...partFields({}),
  ]}
  onDo=${enter(name, test, "admin/v1/ledger/top-ups")} />`;

export const Adjust = ({ name, test }) => html`<${Change} label="Adjust" scope="money" title=${`Adjust the balance of ${name}, ${test ? "test" : "live"} keys`} rarely=${RARELY}
  fields=${[
    { name: "amount", label: "Credits", hint: "Such as 12.5, or -12.5 to take them away.", required: true },
    { ...NOTE, required: true },
    { name: "reference", label: "Reference" },
    ...partFields({}),
  ]}
  onDo=${enter(name, test, "admin/v1/ledger/adjustments")} />`;

export function Limits({ name, test, mode, query }) {
  const part = partOf(query);
  const account = useCall((signal) => call("admin/v1/limits/account", { query: { tenant: name, test, ...part }, signal }), [name, test, part], { live: "requests", pause: 5000 });
  const all = useCall((signal) => call("admin/v1/limits", { query: { tenant: name, cursor: query.cursor }, signal }), [name, query.cursor]);
  const overrides = useCall((signal) => call("admin/v1/limit-overrides", { query: { tenant: name, ended: query.ended }, signal }), [name, query.ended]);
  const reload = () => (account.reload(), all.reload(), overrides.reload());
  const change = async (path, put, body, tag) => {
    await call(path, { body: { tenant: name, test, ...body }, put, tag });
    reload();
  };
  const set = ({ limit, reason, ...values }) => {
    const of = partOf(values);
    const isShown = JSON.stringify(of) === JSON.stringify(part);
    return change("admin/v1/limits/account", true, { ...of, limits: limit.split(/[\s,]+/).filter(Boolean), reason }, isShown ? tagOf(account.data) : "*");
  };
  const ofMode = (rows) => rows.filter((one) => one.mode === mode);
  return html`<${Filters} query=${query}>
      <${Filter} query=${query} name="kid" label="Of a key" first=${true} placeholder="its kid" />
      <${Filter} query=${query} name="model_id" label="Of a model" />
      <${Filter} query=${query} name="end_user" label="Of an end user" />
    <//>
    <div class="cards wide">
    <${Card} title=${`How they stand: ${toldPart(part)}`} more=${html`<${Change} label="Set" scope="operate" title="Set limits" rarely=${RARELY} onDo=${set} fields=${[
        { name: "limit", label: "Limits", hint: "Such as credits-day=12.5, submits-minute=60/10 or in-flight=none; several with spaces between.", required: true },
        ...partFields(query),
      ]} />`}>
      <${Shown} of=${account} isEmpty=${(data) => !data.standings.length} empty=${html`<p>No limit applies.</p>`}>
        ${(data) => html`<ul class="limits">${data.standings.map((one) => html`<${LimitBar} of=${one} />`)}</ul>`}
      <//>
    <//>
    <div class="stack">
    <${List} title="Set for this tenant" caption="Limits" of=${all} rows=${(data) => ofMode(data.limits)} empty="Only the defaults of the settings apply." query=${query} keyOf=${(one) => `${toldPart(one)} ${one.metric}`} columns=${[
          ["Limit", (one) => html`<code>${one.metric}</code><span class="under hint">${toldPart(one)}</span>`],
          ["Amount", (one) => amountOf(one.metric, one.amount), "right"],
          ["Burst", "burst", " right"],
          ["", (one) => html`<${Change} label="Remove" scope="operate" danger=${true} title=${`Remove ${one.metric}`} text=${`Of ${toldPart(one)}. Defaults apply again, where there are any.`}
            onDo=${({ reason }) => change("admin/v1/limits/account/remove", false, { ...partOf(one), metrics: [one.metric], reason }, "*")} />`, "right"],
        ]} />
    <${List} title="Overrides" more=${html`<button class="button small" onClick=${() => refine({ ended: query.ended ? "" : "true" })}>${query.ended ? "Only those that last" : "Ended ones too"}</button> <${Change} label="Override a limit" scope="operate" title="Override a limit for a while" text="Where no such limit is set, this sets one until then." verb="Override" rarely=${RARELY} fields=${[
          { name: "override", label: "Limit", hint: "Such as credits-day=50.", required: true },
          { name: "hours", label: "Hours", value: "24", kind: "number", min: "0.1", step: "any", required: true },
          ...partFields(query),
        ]} onDo=${({ override, hours, reason, ...values }) =>
          change("admin/v1/limit-overrides", false, { ...partOf(values), override, until: new Date(Date.now() + Number(hours) * 3_600_000).toISOString(), reason })} />`} of=${overrides} rows=${(data) => ofMode(data.overrides)} empty="No limit is overridden." keyOf=${(one) => one.override_id} columns=${[
          ["Limit", (one) => html`<code>${one.metric}</code><span class="under hint">${toldPart(one)}</span>`],
          ["Amount", (one) => amountOf(one.metric, one.amount), "right"],
          ["Until", "until", "time"],
          ["", (one) => one.state === "lasts" && html`<${Change} label="End" scope="operate" title="End this override now" onDo=${async ({ reason }) => {
            await call(`admin/v1/limit-overrides/${one.override_id}/end`, { body: { reason } });
            reload();
          }} />`, "right"],
        ]} />
    </div>
  </div>`;
}

const inMs = ({ lives_s, ...terms }) => (lives_s ? { ...terms, lifetime_ms: lives_s * 1000 } : terms);
const USUAL = ["", "as its tenant"];

export function Keys({ name, mode, query }) {
  const { me } = useSession();
  const [secret, setSecret] = useState(null);
  const [link, setLink] = useState(null);
  const asked = { tenant: name, mode, name: query.key, limit: 100, cursor: query.cursor };
  const keys = useCall((signal) => call("admin/v1/keys", { query: asked, signal }), [asked]);
  const change = async (one, given) => {
    const put = (what, body) => call(`admin/v1/keys/${one.kid}/${what}`, { body: { ...body, reason: given.reason }, put: true, tag: "*" });
    const terms = narrowed(given, one);
    if (Object.keys(terms).length) await put("terms", inMs(terms));
    if (given.queueing !== String(one.queueing ?? "")) await put("queueing", { queueing: given.queueing === "" ? null : given.queueing === "true" });
    if (given.mirror !== (one.mirror ?? "")) await put("mirror", { mirror: given.mirror || null });
    keys.reload();
  };
  return html`<${Filters} query=${query}><${Filter} query=${query} name="key" label="Name" search=${true} first=${true} grow=${true} placeholder="Search  /" /><//>
  <${List} title=${`API keys, ${mode}`} caption="API keys" more=${html`<${Change} label="New key" scope="operate" title=${`New ${mode} key of ${name}`} verb="Create" fields=${newKeyFields(SCOPES)} onDo=${async ({ reason, ...given }) => {
        setSecret(await call("admin/v1/keys", { body: { tenant: name, mode, ...inMs(newKey(given)), reason } }));
        keys.reload();
      }} />`} of=${keys} rows=${(data) => data.keys} empty=${query.key ? "No key has this name." : "It has no key of this mode."} query=${query} keyOf=${(one) => one.kid} columns=${[
        ["Key", (one) => html`${one.name || "–"}<span class="under hint"><code>${one.kid}</code> …${one.last_four}</span>`],
        ["State", "state", "state"],
        ["Scopes", (one) => one.scopes.join(", ")],
        ["Models", (one) => (one.models === null ? "all" : one.models.join(", ")), "wide"],
        ["Last used", "last_used_at", "ago wide"],
        ["Expires", "expires_at", "time"],
        ["", (one) => one.state === "active" && html`<div class="actions">
          ${me.portal && html`<${Change} label="Portal link" scope="operate" title="A link that opens the portal once" text="Whoever opens it within a minute acts as this key, in their browser, for up to twelve hours." verb="Make"
              onDo=${async ({ reason }) => setLink(await call("admin/v1/portal-links", { body: { kid: one.kid, reason } }))} />`}
          <${Change} label="Change" scope="operate" title=${`Change ${one.name || one.kid}`} text="What it may do can only be narrowed."
              fields=${[
                ...narrowFields(one),
                { name: "queueing", label: "Requests that cannot be sent yet", kind: "select", value: String(one.queueing ?? ""), options: [USUAL, ["true", "are queued"], ["false", "are refused"]] },
                { name: "mirror", label: "Copies of outputs", kind: "select", value: one.mirror ?? "", options: [USUAL, ...MIRRORS] },
              ]}
              onDo=${(given) => change(one, given)} />
          <${Change} label="Rotate" scope="operate" title=${`Rotate ${one.name || one.kid}`} text="A second key like it, with the same limits; the old one works on for a while."
              fields=${[{ name: "days", label: "Days that both work", kind: "number", value: "7", min: "0", step: "any" }]}
              onDo=${async ({ days, reason }) => {
                setSecret(await call(`admin/v1/keys/${one.kid}/rotate`, { body: { overlap_ms: Math.round(Number(days) * DAY_S * 1000), reason } }));
                keys.reload();
              }} />
          <${Change} label="Revoke" scope="operate" danger=${true} title=${`Revoke ${one.name || one.kid}`} text="It is refused within five seconds, with its client tokens and portal sessions. Its jobs go on."
              onDo=${async ({ reason }) => {
                await call(`admin/v1/keys/${one.kid}/revoke`, { body: { reason } });
                keys.reload();
              }} /></div>`, "right"],
      ]}>
    ${secret && html`<${SecretDialog} title="The new key" text="Give it to whoever will use it." secret=${secret.key} onClose=${() => setSecret(null)} />`}
    ${link && html`<${SecretDialog} title="The link" text="It works once, within a minute." secret=${link.url} onClose=${() => setLink(null)} />`}
  <//>`;
}

/** Whether outputs are copied to the gateway's own store, and what is told of them then. */
export const MIRRORS = [["off", "none is made"], ["beside", "are told beside RunComfy's links"], ["instead", "stand in place of RunComfy's links"]];
