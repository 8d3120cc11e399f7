// The same job as code: curl, JavaScript in a page, Python. The key is a placeholder, never a real one.

import { copyButton, el, freshId } from "./playground-kit.js";

const KEY = "$REELGATE_KEY";

/** Tabs with one text each. Gives back the function that shows other code in them. */
export function codePanel(place) {
  const panel = el("pre", { id: freshId("code"), class: "code", role: "tabpanel", tabindex: 0 });
  let codes = samplesFor({ base: "", model: "", body: {} });
  let open = 0;
  const tabs = codes.map(({ name }, index) =>
    el("button", {
      type: "button",
      role: "tab",
      id: freshId("tab"),
      "aria-controls": panel.id,
      text: name,
      onclick: () => show(index),
      onkeydown: (event) => move(event, index),
    }),
  );
  const show = (index) => {
    open = index;
    tabs.forEach((tab, at) => {
      tab.setAttribute("aria-selected", String(at === index));
      tab.tabIndex = at === index ? 0 : -1;
    });
    panel.setAttribute("aria-labelledby", tabs[index].id);
    panel.replaceChildren(...coloured(abridged(codes[index].code)));
  };
  const move = (event, index) => {
    const to = { ArrowRight: index + 1, ArrowLeft: index - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    show((to + tabs.length) % tabs.length);
    tabs[open].focus();
  };
  place.replaceChildren(
    el(
      "div",
      { class: "code-bar" },
      el("div", { class: "tabs", role: "tablist", "aria-label": "Language" }, ...tabs),
      copyButton(() => codes[open].code, { what: "the code", small: true }),
    ),
    panel,
  );
  return (job) => {
    codes = samplesFor(job);
    show(open);
  };
}

/** The code with its remarks and strings set apart. */
function* coloured(code) {
  let at = 0;
  for (const match of code.matchAll(/^ *(#|\/\/).*$|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'/gm)) {
    yield code.slice(at, match.index);
    yield el("span", { class: match[1] ? "remark" : "string", text: match[0] });
    at = match.index + match[0].length;
  }
  yield code.slice(at);
}

/** A long data: URI says nothing to a reader: it is abridged for the eye, and whole for copying. */
function abridged(code) {
  return code.replace(/data:([a-z0-9+./-]+);base64,[A-Za-z0-9+/=]{80,}/gi, (uri, type) => {
    const size = Math.round(((uri.length - type.length - 13) * 3) / 4 / 1000);
    return `data:${type};base64,…${size} kB…`;
  });
}

/** Each language's name and what to run, for a model and a body. */
function samplesFor({ base, model, body }) {
  const json = JSON.stringify(body, null, 2);
  return [
    { name: "curl", code: curl(base, model, json) },
    { name: "JavaScript", code: script(base, model, json) },
    { name: "Python", code: python(base, model, literal(body)) },
  ];
}

function curl(base, model, json) {
  return `# 1. Submit. Sent again with the same Idempotency-Key it is still one job.
ONCE=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \\n')
curl -s ${base}/v1/models/${model} \\
  -H "Authorization: Bearer ${KEY}" -H "Content-Type: application/json" \\
  -H "Idempotency-Key: $ONCE" --data-binary @- <<'JSON' | tee job.json
${json}
JSON
ID=$(sed -n 's/.*"request_id":"\\([^"]*\\)".*/\\1/p' job.json)

# 2. Watch every change until it is over.
curl -sN ${base}/v1/requests/$ID/events -H "Authorization: Bearer ${KEY}"

# 3. Fetch the result.
curl -s ${base}/v1/requests/$ID/result -H "Authorization: Bearer ${KEY}"
`;
}

function script(base, model, json) {
  return `import { Reelgate } from "${base}/client.js";

// No key in the page: your server asks for a short-lived token with its own key,
//   curl -s ${base}/v1/client-tokens -H "Authorization: Bearer ${KEY}" \\
//     -H "Content-Type: application/json" -d '{"lifetime_s": 600}'
// and hands the answer to the page.
const reelgate = new Reelgate({
  getToken: () => fetch("/your-server/reelgate-token", { method: "POST" }),
});

const input = ${json};

const result = await reelgate.subscribe(${JSON.stringify(model)}, input, {
  onUpdate: ({ status, queuePosition }) => console.log(status, queuePosition),
});
console.log(result.output);
`;
}

function python(base, model, body) {
  return `import json, os, uuid
from urllib.request import Request, urlopen

BASE = ${JSON.stringify(base)}
HEADERS = {"Authorization": f"Bearer {os.environ['REELGATE_KEY']}"}


def call(path, body=None, **headers):
    data = None if body is None else json.dumps(body).encode()
    request = Request(BASE + path, data, {**HEADERS, "Content-Type": "application/json", **headers})
    with urlopen(request, timeout=60) as answer:
        return json.load(answer)


body = ${body}

# The Idempotency-Key makes it safe to send this again.
job = call("/v1/models/${model}", body, **{"Idempotency-Key": str(uuid.uuid4())})
place = f"/v1/requests/{job['request_id']}"
while (status := call(f"{place}/status?wait=25"))["status"] not in ("completed", "cancelled"):
    print(status["status"], status.get("queue_position"))
print(call(f"{place}/result"))
`;
}

/** A JSON value as Python writes it. */
function literal(value, indent = "") {
  const inner = `${indent}    `;
  const block = (open, lines, close) =>
    lines.length === 0
      ? open + close
      : `${open}\n${lines.map((line) => `${inner}${line},\n`).join("")}${indent}${close}`;
  if (Array.isArray(value))
    return block(
      "[",
      value.map((one) => literal(one, inner)),
      "]",
    );
  if (value !== null && typeof value === "object") {
    const lines = Object.entries(value).map(
      ([name, one]) => `${JSON.stringify(name)}: ${literal(one, inner)}`,
    );
    return block("{", lines, "}");
  }
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  return JSON.stringify(value);
}
