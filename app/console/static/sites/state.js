// What the whole page shares: the place in its address, the time zone, the theme, and what is written in them.

import { createContext, useContext, useEffect, useState } from "./vendor.js";

/** Everything that the frame gives to pages: `me`, `mode`, `can(scope)`. */
export const Session = createContext(null);
export const useSession = () => useContext(Session);

// --- the place: `#/requests?state=unknown`

/** The place that an address names: the parts of its path, and its query. */
export function placeIn(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?");
  return {
    parts: path.split("/").filter(Boolean).map((one) => decodeURIComponent(one)),
    query: Object.fromEntries(new URLSearchParams(query)),
  };
}

/** The address of a place, for links. */
export function to(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  const parts = (Array.isArray(path) ? path : [path]).map((one) => encodeURIComponent(one));
  return `#/${parts.join("/")}${text ? `?${text}` : ""}`;
}

const listeners = new Set();
addEventListener("hashchange", () => listeners.forEach((one) => one()));

/** The present place; a component that uses it is drawn anew when it changes. */
export function usePlace() {
  const [, redraw] = useState(0);
  useEffect(() => {
    const listen = () => redraw((count) => count + 1);
    listeners.add(listen);
    return () => listeners.delete(listen);
  }, []);
  return placeIn(location.hash);
}

/** Goes to a place; `quietly` leaves no step in the browser's history. */
export function go(address, quietly = false) {
  if (address === location.hash) return;
  if (quietly) {
    history.replaceState(null, "", address);
    listeners.forEach((one) => one());
  } else location.hash = address;
}

/** Changes members of the present query: filters and cursors are part of the address. */
export function refine(change, quietly = true) {
  const { parts, query } = placeIn(location.hash);
  go(to(parts.length ? parts : [""], { ...query, ...change }), quietly);
}

// --- the mode: live, unless this gateway has credentials for test keys alone; another stands in the address

let usual = "live";
/** Whose requests are shown where the address names no mode. */
export const setUsualMode = (mode) => (usual = mode);
export const modeOf = (query) => query.mode ?? usual;
/** A mode as it stands in an address: nothing for the usual one. */
export const modeIn = (mode) => (mode === usual ? "" : mode);

// --- times, in a zone that is said

export const HERE = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
let zone = localStorage.getItem("reelgate-zone") === "UTC" ? "UTC" : HERE;
export const theZone = () => zone;
export function setZone(name) {
  zone = name;
  localStorage.setItem("reelgate-zone", name);
  listeners.forEach((one) => one());
}

/** What stands in an input for a moment, in the zone that the page says, as the API wants it. */
export const momentIn = (text) => (text ? new Date(zone === "UTC" ? `${text}Z` : text).toISOString() : "");

const formats = new Map();
function format(name, options) {
  const key = `${name} ${zone}`;
  if (!formats.has(key)) formats.set(key, new Intl.DateTimeFormat("en-GB", { ...options, timeZone: zone }));
  return formats.get(key);
}
const DAY = { day: "2-digit", month: "short" };
const TIME = { hour: "2-digit", minute: "2-digit", second: "2-digit" };

/** "30 Nov, 14:05:11", in the zone that the page says. */
export function when(iso) {
  if (!iso) return "–";
  const at = new Date(iso);
  const years = at.getFullYear() === new Date().getFullYear() ? {} : { year: "numeric" };
  return format(`when${Object.keys(years)}`, { ...DAY, ...years, ...TIME }).format(at);
}
/** "14:05", in the zone that the page says */
export const minute = (ms) => format("minute", { hour: "2-digit", minute: "2-digit" }).format(ms);
/** "14:05:11.250" */
export const clock = (iso) => format("clock", { ...TIME, fractionalSecondDigits: 3 }).format(new Date(iso));

/** A span of time: "120 ms", "4.5 s", "1 min 12 s", "2 h 5 min", "3 d 4 h". */
export function span(ms) {
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}
/** "3 min 4 s ago", "in 2 h 5 min" */
export function away(iso) {
  if (!iso) return "–";
  const ms = Date.parse(iso) - Date.now();
  return ms > 0 ? `in ${span(ms)}` : `${span(-ms)} ago`;
}

// --- amounts

// A format is made once: `toLocaleString` makes one for each cell of a table.
const inCredits = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 6 });
const inWhole = new Intl.NumberFormat("en");
/** The number of credits, exact to the last micro-credit. */
export const credits = (micro) => (micro === null || micro === undefined ? "–" : inCredits.format(micro / 1e6));
export const count = (value) => (value === null || value === undefined ? "–" : inWhole.format(value));
/** "340 B", "12.4 kB", "1.3 MB" */
export const bytes = (size) => {
  const power = Math.min(3, Math.floor(Math.log10(Math.max(size, 1)) / 3));
  return `${power ? (size / 1000 ** power).toFixed(1) : size} ${["B", "kB", "MB", "GB"][power]}`;
};
export const percent = (part, whole) => (whole ? `${((part / whole) * 100).toFixed(1)} %` : "–");

// --- the theme

export const theTheme = () => localStorage.getItem("reelgate-theme") ?? "auto";
export function setTheme(name) {
  localStorage.setItem("reelgate-theme", name);
  showTheme();
  listeners.forEach((one) => one());
}
export function showTheme() {
  const name = theTheme();
  if (name === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
}
