// Usage as a plot and a table, by any grouping, with the sum of what is on screen: for operators and tenants.

import { html, useState } from "./vendor.js";
import { Chart } from "./chart.js";
import { Card, csvOf, save, Table } from "./kit.js";
import { count, credits } from "./state.js";

const MOST = 7;
const ROWS = 100; // drawn at first: a thousand take a browser as long as the call took
export const OUTCOMES = ["submitted", "completed", "failed", "cancelled", "rejected", "expired", "lost", "refused"];
/** What can be shown of a row: its name, the member, whether it is money. */
export const MEASURES = {
  spent: ["Spent", "spent_microcredits", true],
  held: ["Held", "held_microcredits", true],
  refunded: ["Refunded", "refunded_microcredits", true],
  adjusted: ["Adjusted", "adjusted_microcredits", true],
  added: ["Added", "added_microcredits", true],
  submits: ["Submits", "held_generations", false],
  refused: ["Refused calls", "refused_calls", false],
};
export const OF_OPERATORS = { cost: ["RunComfy's cost", "cost_microusd", true], margin: ["Margin", "margin_microcredits", true] };

/** `groups` are the members by which the rows are grouped; `measures` those that the table has. */
export function UsageView({ data, groups, measures, show, name }) {
  const [all, setAll] = useState(false);
  const [title, member, isMoney] = measures[show] ?? measures.spent;
  const labels = [...new Set(data.rows.map((one) => one.period))].sort();
  const nameOf = (row) => groups.map((one) => row[one] ?? "none").join(" · ") || title;
  const sums = new Map();
  for (const row of data.rows) sums.set(nameOf(row), (sums.get(nameOf(row)) ?? 0) + Math.abs(row[member]));
  const ranked = [...sums].sort((a, b) => b[1] - a[1]).map(([key]) => key);
  const named = ranked.length > MOST + 1 ? [...ranked.slice(0, MOST), "others"] : ranked;
  const place = new Map(labels.map((one, at) => [one, at]));
  const series = named.map((one) => ({ name: one, values: labels.map(() => 0) }));
  for (const row of data.rows) {
    const at = named.indexOf(nameOf(row));
    series[at >= 0 ? at : named.length - 1].values[place.get(row.period)] += row[member];
  }
  const isLine = labels.length > 1 && data.rows.some((row) => row[member] < 0);
  const shown = Object.values(measures);
  const cell = ([, one, money], row) => html`<span class=${row[one] < 0 ? "below" : ""}>${money ? credits(row[one]) : count(row[one])}</span>`;
  const total = (one) => data.rows.reduce((sum, row) => sum + row[one], 0);
  const download = () => {
    const heads = ["period", ...groups, ...shown.map(([, one]) => one)];
    const rows = data.rows.map((row) => [row.period, ...groups.map((one) => row[one]), ...shown.map(([, one]) => row[one])]);
    save(`${name}.csv`, "text/csv", csvOf([heads, ...rows, ["sum", ...groups.map(() => ""), ...shown.map(([, one]) => total(one))]]));
  };
  return html`
    <${Card} title=${title} more=${isMoney ? "credits" : ""}>
      <${Chart} title=${`${title} by ${data.by}`} labels=${labels.map((one) => short(one, data.by))} series=${series} stacked=${!isLine} format=${isMoney ? credits : count} />
    <//>
    <${Card} title="The same as numbers" kind="flush" more=${html`<button class="button small" onClick=${download}>CSV of what is on screen</button>`}>
      <${Table}
        caption="Usage"
        rows=${[...(all ? data.rows : data.rows.slice(0, ROWS)), null]}
        keyOf=${(row) => (row ? `${row.period} ${nameOf(row)}` : "sum")}
        columns=${[
          ["Period", (row) => (row ? short(row.period, data.by) : html`<strong>Sum</strong>`), "tight"],
          ...groups.map((one) => [one.replaceAll("_", " "), (row) => (row ? row[one] ?? "–" : "")]),
          ...shown.map((one) => [one[0], (row) => (row ? cell(one, row) : html`<strong>${cell(one, { [one[1]]: total(one[1]) })}</strong>`), "right"]),
        ]}
      />
      ${!all && data.rows.length > ROWS && html`<p class="pages"><button class="button small" onClick=${() => setAll(true)}>Show all ${count(data.rows.length)} rows</button><span class="hint">The sum is of all of them.</span></p>`}
    <//>
  `;
}

const short = (period, by) => (by === "hour" ? period.slice(5, 16).replace("T", " ") : period);
