// The portal of a tenant's own people: which pages there are. Somebody enters by a link or a key, once.

import { html } from "./vendor.js";
import { call } from "./calls.js";
import { KeyForm, start } from "./frame.js";
import { Account, Keys, Requests, Statements, Usage } from "./portal-account.js";
import { TenantsWebhooks } from "./webhooks.js";

const LINK = "#link=";

/** Exchanges the link in the address, which no server was sent, for a session; it leaves the address first. */
async function enter() {
  if (!location.hash.startsWith(LINK)) return;
  const link = location.hash.slice(LINK.length);
  history.replaceState(null, "", "#/");
  await call("portal/session", { body: { link } });
}

start({
  name: "portal",
  title: "Portal",
  stream: "v1/events",
  enter,
  pages: [
    { path: "", title: "Overview", Page: Account },
    { path: "requests", title: "Requests", Page: Requests },
    { path: "usage", title: "Usage", Page: Usage },
    { path: "webhooks", title: "Webhooks", Page: TenantsWebhooks },
    { path: "keys", title: "Keys and origins", Page: Keys },
    { path: "statements", title: "Statements", Page: Statements },
  ],
  links: () => [
    ["Playground", "portal-playground"],
    ["Guides", "docs/guides"],
    ["API reference", "docs"],
  ],
  Form: ({ onDone }) => html`<${KeyForm}
    name="portal"
    label="API key"
    hint="Open the link that you were given, or exchange a key, once, for a session. The key is kept nowhere."
    onDone=${onDone}
  />`,
  Who: ({ me }) => html`<span class="who"><strong>${me.tenant}</strong> · ${me.mode} keys</span>`,
});
