// Plots of sums over time: stacked bars, or lines. The numbers stand in a table beside it, for everybody.

import { html, uPlot, useEffect, useRef } from "./vendor.js";

const COLOURS = {
  light: ["#1b558f", "#c9820a", "#1a6b45", "#8a3ffc", "#b3261e", "#0f766e", "#9d4edd", "#566370"],
  dark: ["#8cc1fb", "#f4b942", "#6bd6a0", "#c9a6ff", "#ff9d92", "#5eead4", "#e0aaff", "#a3b0be"],
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
      { ...axis, size: 64, values: (_, at) => at.map((one) => format(one)) },
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
