// The jobs of this session: the gateway's own list, with the words that this page remembers of each.

import { credits, el, span, timeOfDay } from "./playground-kit.js";
import { isLive, phaseOf, phaseWord, UNKNOWN } from "./playground-phases.js";

const STORE = "reelgate-playground-words";
const KEPT = 50;

/** What the visitor asked for, by request id: the list itself has no inputs. */
function words() {
  try {
    return JSON.parse(localStorage.getItem(STORE) ?? "{}");
  } catch {
    return {};
  }
}

export function remember(requestId, { prompt, text }) {
  const said = String(prompt ?? text ?? "")
    .replace(/ *\[sandbox:[^\]]*\]/g, "")
    .slice(0, 120);
  const kept = Object.entries({ ...words(), [requestId]: said }).slice(-KEPT);
  localStorage.setItem(STORE, JSON.stringify(Object.fromEntries(kept)));
}

const phaseIn = (request) =>
  phaseOf({ state: request.state, status: request.status, final: request.finished_at !== null });

export const isUnfinished = (request) => isLive(phaseIn(request));

/** Draws the list. `current` is the id of the job on the stage. */
export function showHistory(place, requests, { current, nameOf, open }) {
  if (requests.length === 0) {
    place.replaceChildren(
      el("p", { class: "hint", text: "None yet. They stay here, in this browser." }),
    );
    return;
  }
  const active = document.activeElement;
  const focused = place.contains(active) ? active?.getAttribute("data-id") : null;
  const said = words();
  place.replaceChildren(
    el(
      "ol",
      { class: "history" },
      ...requests.map((request) => {
        const phase = phaseIn(request);
        const took =
          request.finished_at && span(Date.parse(request.finished_at) - Date.parse(request.created_at));
        const charge = { refunded: "given back", held: "held" }[request.charge];
        const price = request.price_microcredits === null ? "" : credits(request.price_microcredits);
        return el(
          "li",
          {},
          el(
            "button",
            {
              type: "button",
              class: `entry phase-${phase}`,
              "data-id": request.request_id,
              "aria-current": request.request_id === current ? "true" : null,
              onclick: () => open(request.request_id),
            },
            el("span", { class: "dot", "aria-hidden": "true" }),
            el(
              "span",
              { class: "what" },
              el("span", { class: "words", text: said[request.request_id] || request.request_id }),
              el("span", { class: "hint", text: nameOf(request.model_id) }),
            ),
            el(
              "span",
              { class: "when number" },
              el("span", {
                text: [request.state === "unknown" ? UNKNOWN : phaseWord(phase), took]
                  .filter(Boolean)
                  .join(" · "),
              }),
              el(
                "span",
                { class: "hint" },
                el("span", { class: "roomy", text: `${[price, charge].filter(Boolean).join(", ")} · ` }),
                timeOfDay(request.created_at),
              ),
            ),
          ),
        );
      }),
    ),
  );
  if (focused) place.querySelector(`[data-id="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}
