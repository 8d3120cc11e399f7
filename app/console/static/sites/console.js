// The operators' console: which pages there are, each a module of its own; and how operators sign in: by the company's own
// sign-in (OpenID Connect), where there is one, or with an admin key.

import { html, useEffect, useState } from "./vendor.js";
import { call, CallError } from "./calls.js";
import { KeyForm, start } from "./frame.js";
import { Trouble } from "./kit.js";
import { Credentials, Models, Queue, Usage } from "./console-queue.js";
import { Now } from "./console-now.js";
import { Requests } from "./console-requests.js";
import { Audit, System } from "./console-system.js";
import { Tenants } from "./console-tenants.js";
import { OperatorsWebhooks } from "./webhooks.js";

const MARK = "#sign-in=";
const PLACE = "reelgate-place";
const REFUSALS = {
  sign_in_ended: ["This sign-in is over.", "It is for one browser, one use and ten minutes: begin again."],
  sign_in_refused: ["The sign-in was refused.", "The gateway's log says what was wrong with the provider's answer."],
  no_operator_role: ["You are known, but have no role here.", "Ask whoever manages roles at your provider for one."],
  oidc_unavailable: ["The provider is of no use at the moment.", "Try again, or sign in with an admin key."],
};

/** Tells a refusal with which the browser came back, or goes back to the place where the sign-in began. */
async function told() {
  const isRefused = location.hash.startsWith(MARK);
  const code = location.hash.slice(MARK.length);
  const place = sessionStorage.getItem(PLACE) ?? "";
  sessionStorage.removeItem(PLACE);
  if (!isRefused && (location.hash || !place.startsWith("#/"))) return;
  history.replaceState(null, "", location.pathname + location.search + place);
  if (!isRefused) return;
  const [title, detail] = REFUSALS[code] ?? ["The sign-in failed.", "The gateway's log says why."];
  throw new CallError({ title, detail, code }, 400, 0);
}

/** The ways to sign in. */
function OperatorForm({ onDone }) {
  const [isOffered, setOffered] = useState(false);
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  useEffect(() => {
    call("console/session").then((found) => setOffered(found.oidc === true), () => {});
  }, []);
  const leave = async () => {
    setBusy(true);
    setError(null);
    try {
      const { url } = await call("console/oidc", { body: {} });
      sessionStorage.setItem(PLACE, location.hash);
      location.assign(url);
    } catch (found) {
      setError(found);
      setBusy(false);
    }
  };
  return html`
    ${isOffered &&
    html`<div class="sign-in">
      <button class="button solid" disabled=${busy} onClick=${leave}>${busy ? "…" : "Sign in with OpenID Connect"}</button>
      ${error && html`<${Trouble} error=${error} />`}
    </div>`}
    <${KeyForm}
      name="console"
      label="Admin key"
      hint="rg_admin_… It is exchanged once for a session, and kept nowhere."
      onDone=${onDone}
    />`;
}

start({
  name: "console",
  title: "Console",
  stream: "admin/v1/events",
  pages: [
    { path: "", title: "Now", Page: Now },
    { path: "requests", title: "Requests", Page: Requests },
    { path: "tenants", title: "Tenants", Page: Tenants },
    { path: "usage", title: "Usage", Page: Usage },
    { path: "queue", title: "Queue", Page: Queue },
    { path: "models", title: "Models and prices", Page: Models },
    { path: "credentials", title: "Credentials", Page: Credentials },
    { path: "webhooks", title: "Webhooks", Page: OperatorsWebhooks },
    { path: "audit", title: "Audit", Page: Audit },
    { path: "system", title: "System", Page: System },
  ],
  links: (me) => [["Guides", `${me.base_url}/docs/guides`], ["Admin API", "admin/openapi.json"]],
  enter: told,
  Form: OperatorForm,
  Who: ({ me }) => html`<span class="who"><strong>${me.name}</strong> · ${me.scopes.join(", ")}</span>`,
});
