// How operators sign in: by the company's own sign-in (OpenID Connect), where there is one, or with an admin key.

import { html, useEffect, useState } from "./vendor.js";
import { call, CallError } from "./calls.js";
import { KeyForm } from "./frame.js";
import { Trouble } from "./kit.js";

const MARK = "#sign-in=";
const PLACE = "reelgate-place";
const REFUSALS = {
  sign_in_ended: ["This sign-in is over.", "It is for one browser, one use and ten minutes: begin again."],
  sign_in_refused: ["The sign-in was refused.", "The gateway's log says what was wrong with the provider's answer."],
  no_operator_role: ["You are known, but have no role here.", "Ask whoever manages roles at your provider for one."],
  oidc_unavailable: ["The provider is of no use at the moment.", "Try again, or sign in with an admin key."],
};

/** Tells a refusal with which the browser came back, or goes back to the place where the sign-in began. */
export async function told() {
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
export function OperatorForm({ onDone }) {
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
