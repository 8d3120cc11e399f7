// Parts of several pages: the mode in the address, filters, a request's timeline and its media.

import { html, useEffect, useState } from "./vendor.js";
import { Field, State, Time, Trouble } from "./kit.js";
import { bytes, clock, modeIn, modeOf, refine, span } from "./state.js";

export const MODES = [["live", "Live"], ["test", "Test"]];

/** Which mode's numbers are shown; it stands in the address. */
export const ModePick = ({ query }) => html`<div class="segments" role="group" aria-label="Keys">
  ${MODES.map(
    ([mode, title]) => html`<button
      type="button"
      aria-pressed=${modeOf(query) === mode ? "true" : "false"}
      onClick=${() => refine({ mode: modeIn(mode), cursor: "", open: "" })}
    >
      ${title}
    </button>`,
  )}
</div>`;

/**
 * A filter that stands in the address; what is typed arrives there a moment later.
 * `kind` is text or select; the first one has `first`, so that F reaches it.
 */
export function Filter({ query, name, label, kind = "text", options, first = false, search = false, grow = false, ...more }) {
  const [value, setValue] = useState(query[name] ?? "");
  useEffect(() => setValue(query[name] ?? ""), [query[name]]);
  useEffect(() => {
    if (value === (query[name] ?? "")) return undefined;
    const timer = setTimeout(() => refine({ [name]: value.trim(), cursor: "", open: "" }), kind === "select" ? 0 : 350);
    return () => clearTimeout(timer);
  }, [value]);
  const marks = { ...(first ? { "data-filter": true } : {}), ...(search ? { "data-search": true, type: "search" } : {}) };
  return html`<div class=${grow ? "grow" : ""}><${Field} kind=${kind} label=${label} value=${value} options=${options} onChange=${setValue} ...${marks} ...${more} /></div>`;
}

/** Every change of a request's state, with how long each lasted. */
export const Timeline = ({ events }) => html`<ol class="timeline">
  ${events.map((one, place) => {
    const next = events[place + 1];
    return html`<li>
      <${State} of=${one.state} />
      <span class="hint">${(one.reason ?? "").replaceAll("_", " ")}</span>
      <span class="hint number"><${Exact} at=${one.at} />${next ? ` · ${span(Date.parse(next.at) - Date.parse(one.at))}` : ""}</span>
    </li>`;
  })}
</ol>`;
const Exact = ({ at }) => html`<time datetime=${at}>${clock(at)}</time>`;

/** Whether an address may stand in a link, a picture or a player. */
const isMedia = (address) => typeof address === "string" && /^https?:\/\//i.test(address);

/** What an output holds to look at: videos that play, pictures, sounds. */
export function Media({ output }) {
  if (!output || typeof output !== "object") return null;
  const found = [];
  for (const [name, value] of Object.entries(output)) {
    for (const one of Array.isArray(value) ? value : [value]) if (isMedia(one)) found.push([name.replace(/s$/, ""), one]);
  }
  if (!found.length) return null;
  return html`<div class="media">
    ${found.map(([kind, address]) =>
      kind === "video"
        ? html`<video src=${address} controls preload="metadata" playsinline></video>`
        : kind === "image"
          ? html`<img src=${address} alt="Output" loading="lazy" />`
          : html`<a href=${address} target="_blank" rel="noopener noreferrer">${address}</a>`,
    )}
  </div>`;
}

/**
 * The copies of an output in the gateway's own store, or why there is none. `linkOf` makes the link at which
 * one is played, when somebody wants to see it.
 */
export const Copies = ({ assets, linkOf }) =>
  assets?.length > 0 &&
  html`<section><h3>Stored copies</h3><ul class="copies">
    ${assets.map((one) => html`<${StoredCopy} key=${one.asset_id} one=${one} linkOf=${linkOf} />`)}
  </ul></section>`;

function StoredCopy({ one, linkOf }) {
  const [seen, setSeen] = useState({ link: "", error: null });
  const show = () => linkOf(one).then((link) => setSeen({ link, error: null }), (error) => setSeen({ link: "", error }));
  const stored = one.state === "stored";
  return html`<li>
    <div class="actions">
      <code>${one.pointer}</code> <${State} of=${one.state} />
      <span class="hint">${[one.media_type, one.size_bytes !== null && bytes(one.size_bytes), !stored && one.error].filter(Boolean).join(" · ")}</span>
      ${stored && !seen.link && html`<button class="button small" onClick=${show}>Show</button>`}
      ${stored && seen.link && html`<a class="button small" href=${seen.link} download target="_blank" rel="noopener noreferrer">Download</a>`}
    </div>
    ${one.next_attempt_at && one.attempts > 0 && html`<p class="hint">Copied again <${Time} at=${one.next_attempt_at} rel=${true} /></p>`}
    ${stored && one.expires_at && html`<p class="hint">Kept until <${Time} at=${one.expires_at} /></p>`}
    ${seen.error && html`<${Trouble} error=${seen.error} again=${show} />`}
    ${stored && seen.link && html`<${Media} output=${{ [one.media_type.split("/")[0]]: seen.link }} />`}
  </li>`;
}

/** Tabs whose choice stands in the address. */
export const Tabs = ({ query, tabs, name = "tab" }) => html`<nav class="tabs" aria-label="Parts">
  ${tabs.map(([key, title], place) => {
    const current = (query[name] ?? tabs[0][0]) === key;
    return html`<a
      href="#"
      aria-current=${current ? "page" : null}
      onClick=${(event) => {
        event.preventDefault();
        refine({ [name]: place ? key : "", cursor: "" }, false);
      }}
      >${title}</a
    >`;
  })}
</nav>`;
export { Time };
