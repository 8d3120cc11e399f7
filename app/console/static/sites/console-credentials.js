// The credentials for RunComfy: whether each is in use, how many jobs it has, and what was learnt of its capacity.

import { html } from "./vendor.js";
import { call } from "./calls.js";
import { Card, Page, Shown, State, Table, Time, useCall } from "./kit.js";
import { count } from "./state.js";

export function Credentials() {
  const found = useCall((signal) => call("admin/v1/credentials", { signal }), [], { every: 5000 });
  return html`<${Page} title="Credentials" lead="For RunComfy; never their secrets">
    <${Card} kind="flush">
      <${Shown} of=${found} isEmpty=${(data) => !data.credentials.length} empty=${html`<p>None is configured.</p>`}>
        ${(data) => html`<${Table}
          caption="Credentials"
          rows=${data.credentials}
          keyOf=${(one) => one.name}
          columns=${[
            ["Name", (one) => one.name],
            ["Mode", (one) => one.mode],
            ["State", (one) => html`<${State} of=${one.configured ? one.condition : "removed"} />`],
            ["Why", (one) => one.reason ?? ""],
            ["Paused until", (one) => html`<${Time} at=${one.paused_until} />`, "tight"],
            ["Live jobs", (one) => count(one.live), "right"],
            ["May have", (one) => one.concurrency ?? "any number", "right"],
            ["Learnt", (one) => one.learnt_concurrency ?? "–", "right"],
            ["Weight", (one) => one.weight, "right"],
            ["Next poll", (one) => html`<${Time} at=${one.next_poll_at} rel=${true} />`, "tight"],
          ]}
        />`}
      <//>
    <//>
  <//>`;
}
