// Usage as a plot and a table, by any grouping, with the sum of what is on screen: for operators and tenants.

import { html, useMemo, useState } from "./vendor.js";
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

/** What a plot has of rows: a series for each of the largest groups, and one for the others. */
function plotted(rows, member, nameOf) {
  const labels = [...new Set(rows.map((one) => one.period))].sort();
  const names = rows.map(nameOf);
  const sums = new Map();
  rows.forEach((row, at) => sums.set(names[at], (sums.get(names[at]) ?? 0) + Math.abs(row[member])));
  const ranked = [...sums].sort((a, b) => b[1] - a[1]).map(([key]) => key);
  const named = ranked.length > MOST + 1 ? [...ranked.slice(0, MOST), "others"] : ranked;
  const series = named.map((name) => ({ name, values: labels.map(() => 0) }));
  const [columns, places] = [labels, named].map((all) => new Map(all.map((one, at) => [one, at])));
  rows.forEach((row, at) => {
    series[places.get(names[at]) ?? named.length - 1].values[columns.get(row.period) ?? 0] += row[member];
  });
  return { labels, series, isLine: labels.length > 1 && rows.some((row) => row[member] < 0) };
}

/** `groups` are the members by which the rows are grouped; `measures` those that the table has. */
export function UsageView({ data, groups, measures, show, name }) {
  const [all, setAll] = useState(false);
  const [title, member, isMoney] = measures[show] ?? measures.spent;
  const nameOf = (row) => groups.map((one) => row[one] ?? "none").join(" · ") || title;
  const { labels, series, isLine } = useMemo(() => plotted(data.rows, member, nameOf), [data, member]);
  const measured = Object.values(measures);
  const total = (one) => data.rows.reduce((sum, row) => sum + row[one], 0);
  // What is zero in every row takes no room on the screen; the file has it.
  const shown = measured.filter(([, one]) => one === member || data.rows.some((row) => row[one] !== 0));
  const cell = ([, one, money], row) => html`<span class=${row[one] < 0 ? "below" : ""}>${money ? credits(row[one]) : count(row[one])}</span>`;
  const download = () => {
    const heads = ["period", ...groups, ...measured.map(([, one]) => one)];
    const rows = data.rows.map((row) => [row.period, ...groups.map((one) => row[one]), ...measured.map(([, one]) => row[one])]);
    save(`${name}.csv`, "text/csv", csvOf([heads, ...rows, ["sum", ...groups.map(() => ""), ...measured.map(([, one]) => total(one))]]));
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
