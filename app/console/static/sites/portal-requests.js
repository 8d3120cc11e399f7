// The tenant's requests with their videos, live by one stream of events.

import { html } from "./vendor.js";
import { address, call, CallError } from "./calls.js";
import { Change, Copy, Facts, Json, List, Page, Shown, State, Time, useCall } from "./kit.js";
import { Copies, Filter, Filters, Media, StateFilter, Timeline } from "./parts.js";
import { credits, momentIn, refine, span, to } from "./state.js";


/** A link to a copy as this page reaches it, by whatever address of the gateway it was opened. */
const hereOf = (link) => address(link.slice(link.lastIndexOf("/a/") + 1));

export function Requests({ place }) {
  const { query } = place;
  const asked = { state: query.state, model_id: query.model_id, end_user: query.end_user, created_after: momentIn(query.from), created_before: momentIn(query.until) };
  const found = useCall((signal) => call("v1/requests", { query: { ...asked, limit: 50, cursor: query.cursor }, signal }), [asked, query.cursor], { live: query.cursor ? "" : "requests" });
  const opened = useCall((signal) => (query.open ? call(`v1/requests/${encodeURIComponent(query.open)}`, { signal }) : Promise.resolve(null)), [query.open], { live: "requests assets" });
  return html`<${Page} title="Requests" lead=${query.cursor ? "An earlier page" : "Live, newest first"}>
    <${Filters} query=${query}>
      <form class="grow" onSubmit=${(event) => {
        event.preventDefault();
        refine({ open: String(new FormData(event.target).get("id")).trim() });
      }}><label>Request id<input name="id" type="search" data-search placeholder="Search  /, then Enter" autocomplete="off" /></label></form>
      <${StateFilter} query=${query} first=${true} />
      <${Filter} query=${query} name="model_id" label="Model" />
      <${Filter} query=${query} name="end_user" label="End user" />
      <${Filter} query=${query} name="from" label="From" type="datetime-local" />
      <${Filter} query=${query} name="until" label="Until" type="datetime-local" />
    <//>
    <div class="split">
      <${List} caption="Requests" of=${found} drawn=${10} rows=${(data) => data.requests} empty=${html`<p>No request matches. Calls that were refused are no requests: the <a href=${to("")}>overview</a> has them.</p><p><a href=${to("requests")}>Without filters</a></p>`} query=${query} keyOf=${(one) => one.request_id} chosen=${query.open} open=${(one) => to("requests", { ...query, open: one.request_id })} columns=${[
                ["Created", "created_at", "time"],
                ["State", "state", "state"],
                ["Model", "model_id"],
                ["Credits", (one) => credits(one.repriced_microcredits ?? one.price_microcredits), "right"],
                ["Charge", "charge", "spare"],
                ["Took", (one) => (one.finished_at ? span(Date.parse(one.finished_at) - Date.parse(one.created_at)) : ""), "right"],
                ["End user", "end_user", "spare"],
              ]} />
      ${query.open && html`<${Panel} key=${query.open} id=${query.open} found=${opened} close=${to("requests", { ...query, open: "" })} />`}
    </div>
  <//>`;
}

const Panel = ({ id, found, close }) => html`<aside class="panel" aria-label="The request">
  <div class="panel-head">
    <div><h2>Request</h2><code>${id}</code></div>
    <${Copy} text=${id} />
    <a class="button small" data-close href=${close}>Close</a>
  </div>
  <${Shown} of=${found} rows=${8} isEmpty=${(one) => one === null}>
    ${(one) => html`
      <div class="actions"><${State} of=${one.state} />
        ${!one.finished_at && html`<${Change} label="Cancel" scope="submit" title="Cancel this request" text="Only while it waits: what RunComfy has begun goes on, and is charged." verb="Cancel it" danger=${true} needsReason=${false} onDo=${async () => {
          const { outcome } = await call(`v1/requests/${id}/cancel`, { body: {} });
          found.reload();
          if (outcome !== "cancelled") throw new CallError({ title: "It was not cancelled.", detail: "It has begun, or has ended, already." }, 202, 0);
        }} />`}</div>
      ${one.error && html`<div class="notice bad"><strong>It failed.</strong><${Json} of=${one.error} /></div>`}
      <${Media} output=${one.output} />
      <${Copies} assets=${one.assets} linkOf=${async (copy) => hereOf((await call(`v1/assets/${copy.asset_id}/links`, { body: {} })).url)} />
      <section><h3>Timeline</h3><${Timeline} events=${one.events} /></section>
      <${Facts} of=${[
        ["Model", one.model_id],
        ["Price", one.price_microcredits === null ? "" : `${credits(one.price_microcredits)} credits`],
        ["Corrected to", one.repriced_microcredits !== null && one.repriced_microcredits !== undefined ? `${credits(one.repriced_microcredits)} credits` : ""],
        ["Charge", one.charge],
        ["End user", one.end_user],
        ["Key", html`<code>${one.kid}</code>`],
        ["Client token", one.token_id && html`<code>${one.token_id}</code>`],
        ["Created", html`<${Time} at=${one.created_at} />`],
        ["Finished", one.finished_at && html`<${Time} at=${one.finished_at} />`],
      ]} />
      ${one.input !== undefined && html`<section><h3>Input</h3><${Json} of=${one.input} /></section>`}
      ${one.output && html`<section><h3>Output</h3><${Json} of=${one.output} /></section>`}
    `}
  <//>
</aside>`;
