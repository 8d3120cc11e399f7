// Who waits in the queue, for how long, and with what share; pausing and resuming.

import { html } from "./vendor.js";
import { call } from "./calls.js";
import { Act, Card, ChangeDialog, Page, Pill, Shown, Table, Time, useCall } from "./kit.js";
import { ModePick } from "./parts.js";
import { count, modeOf, to } from "./state.js";

export function Queue({ place }) {
  const mode = modeOf(place.query);
  const found = useCall((signal) => call("admin/v1/dispatch", { signal }), [], { every: 5000 });
  const since = found.data?.paused_since[mode];
  const change = (verb, body) => call(`admin/v1/dispatch/${verb}`, { body }).then(found.reload);
  return html`<${Page}
    title="Queue"
    lead="Requests that wait to be sent, fairly by tenant"
    actions=${html`<${ModePick} query=${place.query} />
      ${found.data && html`<${Act} label=${since ? "Resume dispatch" : "Pause dispatch"} scope="operate" danger=${!since}>
        ${(close) => html`<${ChangeDialog} title=${since ? `Resume dispatch of ${mode} keys` : `Pause dispatch of ${mode} keys`}
          text=${since ? "What waits is sent again." : "Nothing of any tenant is sent. Requests that may be queued are still accepted; others are refused."}
          verb=${since ? "Resume" : "Pause"} danger=${!since} onClose=${close}
          onDo=${({ reason }) => change(since ? "resume" : "pause", { modes: [mode], reason })} />`}
      <//>`}`}
  >
    ${since && html`<div class="notice warn"><strong>Paused</strong> since <${Time} at=${since} />.</div>`}
    <${Card} kind="flush">
      <${Shown} of=${found} isEmpty=${(data) => !data.queues.some((one) => one.mode === mode)} empty=${html`<p>No tenant has a queue in this mode.</p>`}>
        ${(data) => html`<${Table}
          caption="Queues"
          rows=${data.queues.filter((one) => one.mode === mode).sort((a, b) => b.queued - a.queued)}
          keyOf=${(one) => one.tenant}
          open=${(one) => to(["tenants", one.tenant], { tab: "settings" })}
          columns=${[
            ["Tenant", (one) => one.tenant],
            ["Queued", (one) => count(one.queued), "right"],
            ["Oldest", (one) => html`<${Time} at=${one.oldest_at} rel=${true} />`, "tight"],
            ["In flight", (one) => count(one.in_flight), "right"],
            ["Weight", (one) => one.weight, "right"],
            ["Share", (one) => `${Math.round(one.share * 100)} %`, "right"],
            ["Sent ever", (one) => count(one.sent), "right"],
            ["", (one) => html`${one.disabled ? html`<${Pill} tone="bad">disabled<//>` : one.paused ? html`<${Pill} tone="warn">paused<//>` : ""}`],
            ["", (one) => html`<${Act} label=${one.paused ? "Resume" : "Pause"} scope="operate">
              ${(close) => html`<${ChangeDialog} title=${`${one.paused ? "Resume" : "Pause"} ${one.tenant}`} text="In both modes." verb=${one.paused ? "Resume" : "Pause"} onClose=${close}
                onDo=${({ reason }) => change(one.paused ? "resume" : "pause", { tenant: one.tenant, reason })} />`}
            <//>`, "right"],
          ]}
        />`}
      <//>
    <//>
  <//>`;
}
