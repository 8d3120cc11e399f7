// What stands around the form and the stage: the theme, the list of models, names, the summary of errors.

import { adviceOn } from "./playground-advice.js";
import { credits, el, field, humanised, icon, part } from "./playground-kit.js";

export function setUpTheme() {
  const apply = (theme) => {
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
  };
  const kept = localStorage.getItem("reelgate-theme") ?? "auto";
  const radio = field(document.getElementById(`theme-${kept}`) ? `theme-${kept}` : "theme-auto");
  radio.checked = true;
  apply(radio.value);
  part("theme").addEventListener("change", ({ target }) => {
    const { value } = /** @type {HTMLInputElement} */ (target);
    localStorage.setItem("reelgate-theme", value);
    apply(value);
  });
}

/** In place of the form. */
export function showStartFailure(error) {
  part("model").replaceChildren(el("option", { text: "No catalogue" }));
  part("inputs").replaceChildren(
    el(
      "div",
      { class: "notice bad" },
      icon("alert"),
      el(
        "div",
        {},
        el("strong", { text: error.title ?? "The catalogue could not be loaded." }),
        el("p", { text: error.detail ?? error.message }),
        adviceOn(error) && el("p", { text: adviceOn(error) }),
        error.traceId && el("p", {}, "Trace ", el("code", { text: error.traceId })),
        el("button", {
          type: "button",
          class: "button solid",
          text: "Try again",
          onclick: () => location.reload(),
        }),
      ),
    ),
  );
  document.title = "Not available · Reelgate Playground";
}

/** The catalogue in the picker, by vendor. */
export function fillModels(models) {
  const vendors = Map.groupBy(models, ({ model_id: id }) => id.split("/")[0]);
  const options = [...vendors].map(([vendor, ofVendor]) =>
    el(
      "optgroup",
      { label: vendor },
      ...ofVendor.map((one) => el("option", { value: one.model_id, text: nameOf(one) })),
    ),
  );
  part("model").replaceChildren(...options);
  field("model").disabled = models.length === 0;
}

/** What a model is called. */
export function nameOf(one) {
  if (one.display_name && one.display_name !== one.model_id)
    return `${one.display_name} — ${one.categories[0] ?? one.model_id}`;
  return one.model_id.split("/").slice(1).join(" / ");
}

function verb({ categories }) {
  const output = /to-(\w+)$/.exec(categories[0] ?? "")?.[1];
  return output ? `Generate ${output}` : "Generate";
}

/** What the page says of the chosen model. */
export function describeModel(model, mode) {
  field("model").value = model.model_id;
  part("about").textContent = model.description ?? "";
  const unit = model.price_unit === "output" ? "" : ` per ${model.price_unit}`;
  const from = `from ${credits(Math.round(model.base_price_usd * 1_000_000))}${unit}`;
  const tags = [...model.categories, from].map((text) => el("span", { class: "tag", text }));
  part("tags").replaceChildren(...tags);
  part("go").lastElementChild?.replaceChildren(verb(model));
  part("mode").textContent =
    mode === "test"
      ? "Real requests, a real queue, a rendered result: all in the gateway’s sandbox. Nothing costs money."
      : "Real requests through this gateway, for real credits. You see the price before you submit.";
}

/** The list of what is wrong, above the form, each with a link to its field. */
export function showSummary(told) {
  part("summary-title").textContent =
    told.length === 1 ? "One thing to correct" : `${told.length} things to correct`;
  part("summary")
    .querySelector("ul")
    ?.replaceChildren(
      ...told.map(({ control, detail, pointer }) => {
        const name = control?.label ?? humanised(pointer?.replace(/^#\/?/, "") || "The input");
        const words = `${name}: ${detail}`;
        if (!control) return el("li", { text: words });
        const link = el("a", { href: `#${control.target.id || "inputs"}`, text: words });
        link.addEventListener("click", (event) => {
          event.preventDefault();
          control.node.scrollIntoView({ block: "center" });
          control.target.focus({ preventScroll: true });
        });
        return el("li", {}, link);
      }),
    );
}
