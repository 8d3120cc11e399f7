// Plots of sums over time, and usage as a plot and a table, by any grouping: for operators and tenants.

import { html, uPlot, useEffect, useMemo, useRef, useState } from "./vendor.js";
import { Card, csvOf, save, Table } from "./kit.js";
import { count, credits } from "./state.js";

const COLOURS = {
  light: ["#1b558f", "#c9820a", "#1a6b45", "#8a3ffc", "#0f766e", "#c2417c", "#8a6d3b", "#566370"],
  dark: ["#8cc1fb", "#f4b942", "#6bd6a0", "#c9a6ff", "#5eead4", "#ff9ecb", "#d9b97c", "#a3b0be"],
};
const isDark = () =>
  document.documentElement.dataset.theme === "dark" ||
  (document.documentElement.dataset.theme !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);

/**
 * `labels` are the periods, `series` are `{name, values}`; with `stacked` they stand on each other as bars. The sum of each
 * series stands with its name.
 */
export function Chart({ labels, series, stacked = true, format = String, title, height = 220 }) {
  const box = useRef(null);
  const key = JSON.stringify([labels, series, stacked]);
  useEffect(() => {
    const element = box.current;
    let plot;
    const draw = () => {
      plot?.destroy();
      plot = new uPlot(options(element, labels, series, stacked, format, height), data(labels, series, stacked), element);
    };
    draw();
    const seen = new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height }));
    seen.observe(element);
    const theme = matchMedia("(prefers-color-scheme: dark)");
    theme.addEventListener("change", draw);
    const named = new MutationObserver(draw);
    named.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    return () => {
      seen.disconnect();
      named.disconnect();
      theme.removeEventListener("change", draw);
      plot?.destroy();
    };
  }, [key]);
  const shown = COLOURS[isDark() ? "dark" : "light"];
  return html`<figure class="chart">
    <div ref=${box} role="img" aria-label=${title}></div>
    ${series.length > 1 &&
    html`<figcaption>
      ${series.map((one, place) => html`<span><i style=${{ background: shown[place % shown.length] }}></i>${one.name} <strong class="number">${format(one.values.reduce((sum, value) => sum + value, 0))}</strong></span>`)}
    </figcaption>`}
  </figure>`;
}

function data(labels, series, stacked) {
  const sums = labels.map(() => 0);
  const tops = series.map((one) => one.values.map((value, at) => (stacked ? (sums[at] += Math.max(0, value)) : value)));
  return [labels.map((_, at) => at), ...(stacked ? tops.reverse() : tops)];
}

function options(element, labels, series, stacked, format, height) {
  const style = getComputedStyle(document.documentElement);
  const [ink, line] = ["--soft", "--line"].map((name) => resolved(element, style.getPropertyValue(name)));
  const shown = COLOURS[isDark() ? "dark" : "light"];
  const own = series.map((one, place) => ({
    label: one.name,
    stroke: shown[place % shown.length],
    width: stacked ? 0 : 2,
    fill: stacked ? shown[place % shown.length] : undefined,
    paths: stacked ? uPlot.paths.bars({ size: [0.7, 36], gap: 1 }) : undefined,
    points: { show: !stacked && labels.length < 40 },
  }));
  const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, font: "12px system-ui" };
  return {
    width: Math.max(200, element.clientWidth),
    height,
    legend: { show: false },
    cursor: { drag: { x: false, y: false } },
    scales: {
      x: { time: false, range: [-0.6, Math.max(0.6, labels.length - 0.4)] },
      y: { range: (_, low, high) => [Math.min(0, low), high > 0 ? high * 1.05 : 1] },
    },
    axes: [
      { ...axis, grid: { show: false }, space: 64, values: (_, at) => at.map((one) => (Number.isInteger(one) ? labels[one] ?? "" : "")) },
      { ...axis, size: 64, values: (_, at) => at.map((one) => format(one).replace(/\.00$/, "")) },
    ],
    series: [{}, ...(stacked ? own.reverse() : own)],
  };
}

/** A colour that a canvas understands: `light-dark()` is for style sheets alone. */
function resolved(element, value) {
  const probe = document.createElement("i");
  probe.style.color = value;
  element.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

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
  const seen = series.filter((one) => one.values.some(Boolean));
  return { labels, series: seen.length ? seen : series.slice(0, 1), isLine: labels.length > 1 && rows.some((row) => row[member] < 0) };
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
        isGrid=${true}
        rows=${[...(all ? data.rows : data.rows.slice(0, ROWS)), null]}
        keyOf=${(row) => (row ? `${row.period} ${nameOf(row)}` : "sum")}
        columns=${[
          ["Period", (row) => (row ? short(row.period, data.by) : html`<strong>Sum</strong>`), "tight"],
          ...groups.map((one) => [one.replace("_id", "").replaceAll("_", " "), (row) => (row ? row[one] ?? "–" : "")]),
          ...shown.map((one) => [one[0], (row) => (row ? cell(one, row) : html`<strong>${cell(one, { [one[1]]: total(one[1]) })}</strong>`), "right"]),
        ]}
      />
      ${!all && data.rows.length > ROWS && html`<p class="pages"><button class="button small" onClick=${() => setAll(true)}>Show all ${count(data.rows.length)} rows</button><span class="hint">The sum is of all of them.</span></p>`}
    <//>
  `;
}

const short = (period, by) => (by === "hour" ? period.slice(5, 16).replace("T", " ") : period);
