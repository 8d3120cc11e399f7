// The frame around all pages: sign-in, the bar, the ways, the keyboard, and what is said when a session ends.

import { html, render, useEffect, useState } from "./vendor.js";
import { call, whenEnded } from "./calls.js";
import { Dialog, Field, follow, Trouble } from "./kit.js";
import { go, HERE, Session, setTheme, setUsualMode, setZone, showTheme, theTheme, theZone, to, usePlace } from "./state.js";

const KEYS = [
  ["/", "Search"],
  ["F", "Filters"],
  ["J  K", "Next and previous row"],
  ["Enter", "Open the row"],
  ["Esc", "Close what is open"],
  ["?", "These keys"],
];

/** Draws the page. `site` has `name`, `title`, `stream`, `pages`, and `Form`, `Who`, which show who is signed in. */
export function start(site) {
  showTheme();
  render(html`<${Frame} site=${site} />`, document.getElementById("page"));
}

function Frame({ site }) {
  const [me, setMe] = useState(undefined); // null: nobody
  const [expired, setExpired] = useState(false);
  const [trouble, setTrouble] = useState(null);
  const look = async () => {
    setTrouble(null);
    try {
      const found = await call(`${site.name}/session`);
      if (found.modes) setUsualMode(found.modes.includes("live") || !found.modes.length ? "live" : "test");
      setMe(found.session_id ? found : null);
      setExpired(false);
    } catch (error) {
      setTrouble(error);
    }
  };
  useEffect(() => {
    const begin = async () => {
      try {
        await site.enter?.();
      } catch (error) {
        setTrouble(error);
        setMe(null);
        return;
      }
      await look();
    };
    begin();
    whenEnded(() => setMe((was) => (was && setExpired(true), was)));
  }, []);
  const isIn = me && !expired && me.scopes.includes("read");
  useEffect(() => (isIn ? follow(site.stream) : undefined), [isIn]);
  if (me === undefined && !trouble) return html`<p class="wait" role="status">Loading…</p>`;
  if (!me) return html`<${SignIn} site=${site} trouble=${trouble} onDone=${look} again=${me === undefined && look} />`;
  const leave = async () => {
    await call(`${site.name}/session/end`, { body: {} }).catch(() => {});
    setMe(null);
  };
  const session = { me, can: (scope) => me.scopes.includes(scope), leave };
  return html`<${Session.Provider} value=${session}>
    <${Inside} site=${site} me=${me} leave=${leave} />
    ${expired &&
    html`<${Dialog} title="The session has ended" stays=${true} onClose=${() => {}}>
      <p>What stands on the page is kept. Sign in again to go on.</p>
      <${site.Form} onDone=${look} />
    <//>`}
  <//>`;
}

function SignIn({ site, trouble, onDone, again }) {
  return html`<main class="door">
    <div class="card">
      <p class="brand"><img src=${`${site.name}/files/favicon.svg`} alt="" width="28" height="28" /> Reelgate</p>
      <h1>${site.title}</h1>
      ${!isSecureContext &&
      html`<p class="notice bad">Browsers keep a session over https only, or on this machine itself: open this page by
      https, or through a tunnel to localhost.</p>`}
      ${trouble && html`<${Trouble} error=${trouble} again=${again || undefined} />`}
      <${site.Form} onDone=${onDone} />
    </div>
  </main>`;
}

/** A form that exchanges a key, once, for a session. */
export function KeyForm({ name, label, hint, onDone }) {
  const [key, setKey] = useState("");
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const send = async (event) => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      await call(`${name}/session`, { body: { key: key.trim() } });
      setKey("");
      await onDone();
    } catch (found) {
      setError(found);
    }
    setBusy(false);
  };
  return html`<form onSubmit=${send} class="sign-in">
    <${Field} kind="password" label=${label} hint=${hint} value=${key} onChange=${setKey} required=${true} autofocus />
    ${error && html`<${Trouble} error=${error} />`}
    <button class="button solid" disabled=${busy}>${busy ? "…" : "Sign in"}</button>
  </form>`;
}

function Inside({ site, me, leave }) {
  const place = usePlace();
  const [help, setHelp] = useState(false);
  const name = place.parts[0] ?? "";
  const current = site.pages.find((one) => one.path === name);
  useEffect(() => {
    document.title = `${current?.title ?? "Not found"} · ${site.title}`;
    document.querySelector("main")?.scrollTo?.(0, 0);
    found(".ways [aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" }); // on a narrow screen
  }, [name]);
  useEffect(() => {
    const listen = (event) => onKey(event, () => setHelp(true));
    addEventListener("keydown", listen);
    return () => removeEventListener("keydown", listen);
  }, []);
  return html`
    <a class="skip" href="#title" onClick=${(event) => {
      event.preventDefault();
      document.getElementById("title")?.focus();
    }}>Skip to the page</a>
    <header class="bar">
      <a class="brand" href=${to("")}><img src=${`${site.name}/files/favicon.svg`} alt="" width="26" height="26" /> Reelgate
        <span class="hint">${site.title}</span></a>
      <div class="bar-more">
        <${site.Who} me=${me} />
        <label class="pick"><span class="sr-only">Times are shown in</span>
          <select value=${theZone()} onChange=${(event) => setZone(event.target.value)}>
            ${[...new Set([HERE, "UTC"])].map((one) => html`<option value=${one} selected=${one === theZone()}>Times in ${one}</option>`)}
          </select></label>
        <label class="pick"><span class="sr-only">Theme</span>
          <select value=${theTheme()} onChange=${(event) => setTheme(event.target.value)}>
            ${["auto", "light", "dark"].map((one) => html`<option value=${one} selected=${one === theTheme()}>${one === "auto" ? "Light or dark" : one}</option>`)}
          </select></label>
        <button class="button small" onClick=${leave}>Sign out</button>
      </div>
    </header>
    <div class="body">
      <nav class="ways" aria-label="Pages">
        ${site.pages.filter((one) => !one.hidden).map(
          (one) => html`<a href=${to(one.path)} aria-current=${one.path === name ? "page" : null}>${one.title}</a>`,
        )}
        ${site.links(me).map(([title, href]) => html`<a class="out" href=${href} target="_blank" rel="noopener">${title}</a>`)}
      </nav>
      <main>
        ${current
          ? html`<${current.Page} key=${name} place=${place} />`
          : html`<div class="empty"><h1 id="title">There is no such page</h1><p><a href=${to("")}>To the beginning</a></p></div>`}
      </main>
    </div>
    ${help &&
    html`<${Dialog} title="Keys" onClose=${() => setHelp(false)}>
      <dl class="facts">${KEYS.map(([key, text]) => html`<div><dt><kbd>${key}</kbd></dt><dd>${text}</dd></div>`)}</dl>
      <div class="actions"><button class="button" onClick=${() => setHelp(false)}>Close</button></div>
    <//>`}
  `;
}

/** @type {(selector: string) => HTMLElement | null} */
const found = (selector) => document.querySelector(selector);
/** @returns {HTMLElement | null} */
const focused = () => /** @type {HTMLElement | null} */ (document.activeElement);

function onKey(event, showHelp) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.key === "Escape") {
    const close = found("[data-close]");
    if (close) close.click();
    else focused()?.blur();
    return;
  }
  if (event.target.closest("input, textarea, select")) return;
  const reach = (selector) => {
    const one = found(selector);
    if (!one) return;
    event.preventDefault();
    one.focus();
  };
  const key = event.key.toLowerCase();
  if (key === "/") reach("[data-search]");
  else if (key === "f") reach("[data-filter]");
  else if (key === "?") showHelp();
  else if (key === "j" || key === "k") step(key === "j" ? 1 : -1, event);
}

/** Moves to the next or previous row. */
function step(by, event) {
  /** @type {HTMLElement[]} */
  const rows = [...document.querySelectorAll("main [data-row]")].map((one) => /** @type {HTMLElement} */ (one));
  if (!rows.length) return;
  event.preventDefault();
  const own = focused()?.closest("tr")?.querySelector("[data-row]") ?? focused();
  const at = rows.findIndex((one) => one === own);
  const chosen = rows.findIndex((one) => one.getAttribute("aria-current") === "true");
  const from = at >= 0 ? at : chosen;
  const next = rows[Math.min(rows.length - 1, Math.max(0, from + by))];
  next.focus();
  if (chosen >= 0) go(next.getAttribute("href"), true); // a panel is open: it follows
}
