// What a job costs and which limits it meets, before it is sent: all of it from one quote.

import { el, icon, part, plainAmount, prose } from "./playground-kit.js";

const METRICS = {
  "submits-minute": "Submits a minute",
  "in-flight": "Jobs at a time",
  "stored-bytes": "Bytes of files",
  "generations-day": "Jobs a day",
  "generations-month": "Jobs a month",
  "generations-total": "Jobs in all",
  "credits-day": "Credits a day",
  "credits-month": "Credits a month",
  "credits-total": "Credits in all",
  "output-seconds-day": "Seconds of output a day",
  "output-seconds-month": "Seconds of output a month",
  "output-seconds-total": "Seconds of output in all",
};

const TOKEN_METRICS = {
  "generations-total": "Jobs of this page’s token",
  "credits-total": "Credits of this page’s token",
};

/** Shows a quote; null while it is asked for. */
export function showQuote(quote) {
  part("price").classList.toggle("stale", quote === null);
  if (quote === null) return;
  showPrice(quote.price_microcredits);
  part("terms").textContent = termsOf(quote);
  showRefusal(quote);
  showLimits(quote.limits ?? []);
}

function showPrice(price) {
  part("price").textContent = price === null ? "–" : price === 0 ? "Free" : plainAmount(price);
  part("price-unit").textContent = price ? (plainAmount(price) === "1" ? "credit" : "credits") : "";
  part("micro").textContent = price ? `${price.toLocaleString("en")} micro-credits` : "";
}

function termsOf({ price_microcredits: price, errors, would_queue: waits }) {
  if (errors.length > 0)
    return `${errors.length === 1 ? "One input" : `${errors.length} inputs`} to fill in or correct.`;
  if (waits) return "The gateway cannot send it at once: it will be queued first.";
  return price === 0 ? "This model costs nothing." : "Held when you submit, settled once it has completed.";
}

/** A quote that could not be had: the price is unknown, the reason is told. */
export function showNoQuote(error) {
  showPrice(null);
  part("price").classList.remove("stale");
  part("terms").textContent = "";
  part("limits").hidden = true;
  notice(error.title ?? "The price is not known at the moment.", error.detail ?? error.message);
}

function showRefusal({ refusal }) {
  if (!refusal) {
    part("refusal").hidden = true;
    return;
  }
  const when = refusal.retry_after_s ? ` Again in ${refusal.retry_after_s} s.` : "";
  notice("It would be refused now.", `${refusal.detail}${refusal.detail.includes(" s.") ? "" : when}`);
}

function notice(title, text) {
  part("refusal").hidden = false;
  part("refusal").replaceChildren(
    icon("alert"),
    el("div", {}, el("strong", { text: title }), el("p", {}, ...prose(text))),
  );
}

function showLimits(limits) {
  const shown = limits.filter((one) => one.limit !== null).map(described);
  part("limits").hidden = shown.length === 0;
  if (shown.length === 0) return;
  const tightest = shown.reduce((one, other) => (other.used > one.used ? other : one));
  part("limits")
    .querySelector("summary")
    ?.replaceChildren(
      el("span", { text: shown.length === 1 ? "1 limit" : `${shown.length} limits` }),
      el("span", { class: "hint", text: `${tightest.name}: ${tightest.left}` }),
    );
  part("limits")
    .querySelector("ul")
    ?.replaceChildren(
      ...shown.map(({ name, left, used, owner }) => {
        const fill = el("span", { class: used >= 1 ? "fill full" : "fill" });
        fill.style.width = `${Math.round(Math.min(1, used) * 100)}%`;
        return el(
          "li",
          {},
          el("span", {}, el("span", { text: name }), el("span", { class: "hint", text: ` ${owner}` })),
          el("span", { class: "number", text: left }),
          el("span", { class: "meter", "aria-hidden": "true" }, fill),
        );
      }),
    );
}

function described(limit) {
  const metric = limit.metric ?? "";
  const word = limit.unit === "microcredits" ? plainAmount : (count) => count.toLocaleString("en");
  const most = limit.burst ?? limit.limit;
  const fallback = metric.replaceAll("-", " ");
  const known = limit.holder === "token" ? TOKEN_METRICS[metric] : METRICS[metric];
  const ofModel = limit.model_id ? ", for this model" : "";
  const atOnce = limit.burst && `Submits at once, ${word(limit.limit)} a minute`;
  return {
    name: atOnce || known || fallback.charAt(0).toUpperCase() + fallback.slice(1),
    owner:
      limit.holder === "token" ? "" : `of this ${limit.holder}${limit.model_id ? ", for this model" : ""}`,
    left: `${word(Math.max(0, limit.remaining))} of ${word(most)} left`,
    used: most > 0 ? 1 - limit.remaining / most : 1,
  };
}
