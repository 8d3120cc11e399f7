// The playground: choose a model, fill in its form, see the price, submit, watch, play. By /client.js alone.

import { Reelgate, ReelgateError } from "./client.js";
import { codePanel } from "./playground-code.js";
import { showNoQuote, showQuote } from "./playground-checkout.js";
import { buildForm } from "./playground-form.js";
import { jobIn, Jobs, newJob } from "./playground-jobs.js";
import { announce, credits, el, field, goTo, part, randomKey, showFrom } from "./playground-kit.js";
import { isLive } from "./playground-phases.js";
import { Shelf } from "./playground-files.js";
import { titleOf } from "./playground-media.js";
import {
  describeModel,
  fillModels,
  nameOf,
  setUpTheme,
  showStartFailure,
  showSummary,
} from "./playground-page.js";

/** @type {Record<string, string>} */
const PROMPTS = {
  harbour: "the boats rock gently as the sun goes down behind the harbour",
  mountains: "mist drifts between the ridges while the light moves slowly across them",
  city: "evening traffic flows through the streets as the windows light up one by one",
  lighthouse: "waves roll against the rocks and the beam of the lighthouse sweeps by",
};
const SCENARIOS = [
  ["", "It goes well"],
  ["queue=20", "It waits 20 seconds in the queue"],
  ["queued", "It stays in the queue until it is cancelled"],
  ["run=30", "It takes 30 seconds to render"],
  ["fail", "It fails"],
  ["reject=422", "RunComfy refuses the input"],
  ["rate-limit=15", "RunComfy accepts no more jobs for 15 seconds"],
  ["hang", "RunComfy’s answer is lost on the way"],
];

const DOUBLE_CLICK_MS = 700;
const ASK_AGAIN_S = 120; // a refusal that is over so soon is looked at again by itself
const tokens = { mode: /** @type {string | null} */ (null) };
// Where the gateway is: two folders above this file, also where a proxy serves it below a path.
const BASE = new URL("../..", import.meta.url).href.replace(/\/$/, "");
const client = new Reelgate({ getToken, baseUrl: BASE });
const showCode = codePanel(part("code"));
const jobs = new Jobs(
  client,
  { stage: part("stage"), list: part("history") },
  {
    moved: showIntent,
    ended: () => {
      showIntent();
      requote(0);
    },
    correct,
    again: (job) => send(newJob({ key: job.key, model: job.model, input: job.input, price: job.price })),
    reuse,
    nameOf: (id) => models.filter(({ model_id: own }) => own === id).map(nameOf)[0] ?? id,
  },
);
/** @type {any[]} */
let models = []; // as the catalogue has them
/** @type {{ url: string }[]} */
let samples = [];
/** @type {any} */
let model = null;
/** @type {ReturnType<typeof buildForm> | undefined} */
let form;
/** @type {AbortController | undefined} */
let quoting; // the quote that is under way
let quoteTimer = 0;
let quoted = []; // what the last quote complained of
/** @type {{ text: string, job: any } | null} */
let intent = null; // what was submitted last, and the job of it
let clicked = -Infinity; // when

// The portal has the same page. There the token is made with the session of whoever is signed in.
const OF_PORTAL = location.pathname.endsWith("/portal-playground");

/** The page's own token: who it is for is a number that this browser keeps. */
async function getToken() {
  const answer = await fetch(OF_PORTAL ? `${BASE}/v1/client-tokens` : new URL("../token", import.meta.url), {
    method: "POST",
    headers: { "Content-Type": "application/json", "Reelgate-Page": "1" },
    body: JSON.stringify(
      OF_PORTAL ? { lifetime_s: 600, end_user: `playground-${session()}` } : { session: session() },
    ),
  });
  if (!answer.ok)
    throw new ReelgateError(
      await answer.json().catch(() => ({ title: "No token was given.", status: answer.status })),
    );
  const token = await answer.json();
  tokens.mode = token.mode ?? null;
  return token;
}

function session() {
  let id = localStorage.getItem("reelgate-playground-session");
  if (!id) {
    id = randomKey();
    localStorage.setItem("reelgate-playground-session", id);
  }
  return id;
}

// --- start

async function start() {
  setUpTheme();
  try {
    const [catalogue] = await Promise.all([client.models({ include_schema: true, limit: 500 }), loadSamples()]);
    models = catalogue.models;
  } catch (error) {
    showStartFailure(error);
    return;
  }
  fillModels(models);
  fillScenarios();
  const inviting = models.find(({ categories }) => categories.includes("image-to-video")) ?? models[0]; // the samples fit
  const linked = jobIn(location.hash);
  chooseModel(named() ?? inviting?.model_id, { quietly: linked !== null });
  addEventListener("hashchange", () => {
    const job = jobIn(location.hash);
    if (job) jobs.open(job);
    else if (named()) chooseModel(named());
  });
  part("model").addEventListener("change", () => chooseModel(field("model").value));
  part("scenario").addEventListener("change", () => rehearse(field("scenario").value));
  part("form").addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  part("form").addEventListener("keydown", (event) => {
    const asked = event.key === "Enter" && (event.ctrlKey || event.metaKey);
    if (asked) /** @type {HTMLFormElement} */ (part("form")).requestSubmit();
  });
  await jobs.restore();
}

/** The model that the address names: a link may lead to one. */
const named = () => models.map(({ model_id: id }) => id).find((id) => location.hash === `#${id}`);

async function loadSamples() {
  const answer = await fetch(new URL("../samples", import.meta.url)).catch(() => null);
  if (answer?.ok) ({ samples } = await answer.json()); // without them there are addresses and files
  for (const { url } of samples) showFrom(url);
}

function chooseModel(id, { quietly = false } = {}) {
  model = models.find(({ model_id: own }) => own === id) ?? null;
  if (!model) {
    part("inputs").replaceChildren(el("p", { class: "hint", text: "The catalogue is empty." }));
    return;
  }
  if (!quietly) history.replaceState(null, "", `#${id}`);
  describeModel(model, tokens.mode);
  part("summary").hidden = true;
  form = buildForm(model, part("inputs"), {
    samples,
    shelf: new Shelf(),
    upload: (file, options) => client.upload(file, { ...options, model: model?.model_id }),
    changed,
    earlier: (kind) => jobs.made.filter((one) => one.kind === kind || kind === "any").map(({ url }) => url),
  });
  suggest();
  const steerable = form.prose() !== null && tokens.mode === "test";
  part("rehearse").hidden = !steerable;
  field("go").disabled = false;
  document.querySelector("main")?.setAttribute("data-ready", "");
  requote(0);
}

function fillScenarios() {
  part("scenario").replaceChildren(...SCENARIOS.map(([value, text]) => el("option", { value, text })));
}

function rehearse(scenario) {
  field("scenario").value = scenario;
  part("scenario-hint").textContent = scenario
    ? `Adds [sandbox:${scenario}] to the prompt, which only the sandbox understands.`
    : "See what your program will meet when things go otherwise.";
  requote(0);
}

// --- the form, and what the gateway says of it

function changed(control) {
  if (control.isMedia) {
    control.waits();
    suggest();
  }
  requote(control.isMedia ? 150 : 350);
}

/** A sample brings a prompt that suits it, for as long as nobody has written an own one. */
function suggest() {
  const prose = form?.prose();
  const sample = form
    ?.slots()
    .map((slot) => slot.sample?.())
    .find(Boolean);
  const prompt = sample && PROMPTS[titleOf(sample).toLowerCase()];
  if (prose && prompt && !prose.isOwn) prose.fill(prompt);
}

/** The body as it is sent: with the scenario that was chosen, which only the sandbox understands. */
function body() {
  /** @type {Record<string, any>} */
  const value = form?.value() ?? {};
  const scenario = field("scenario").value;
  if (scenario && !part("rehearse").hidden) {
    const name = form?.prose()?.node.dataset.name;
    if (name && name in value) value[name] = `${value[name]} [sandbox:${scenario}]`;
  }
  return value;
}

function requote(delay) {
  showIntent();
  clearTimeout(quoteTimer);
  quoting?.abort();
  showQuote(null);
  showCode({ base: BASE, model: model.model_id, body: body() });
  const isHeavy = JSON.stringify(body()).length > 50_000; // not for each letter of a prompt
  quoteTimer = setTimeout(quoteNow, isHeavy ? Math.max(delay, 900) : delay);
}

async function quoteNow() {
  if (!form) return;
  quoting = new AbortController();
  const { signal } = quoting;
  try {
    const quote = await client.quote(model.model_id, body(), { signal });
    if (signal.aborted) return;
    showQuote(quote);
    quoted = quote.errors;
    form.judge(quote.errors, quote.media);
    if (!part("summary").hidden) summarise(quote.errors, { focus: false });
    const price = String(quote.price_microcredits ?? "");
    const { price: before } = part("form").dataset;
    part("form").dataset.price = price;
    const wait = quote.refusal?.retry_after_s;
    if (wait != null && wait <= ASK_AGAIN_S) quoteTimer = setTimeout(requote, wait * 1000, 0);
    if (before && price && price !== before) announce(`Price: ${credits(Number(price))}`);
  } catch (error) {
    if (signal.aborted) return;
    showNoQuote(error);
    form.judge(error.errors ?? [], null);
  }
}

/** The list of what is wrong, above the form, each a link to its field. Whether there is anything. */
function summarise(errors, { focus = true } = {}) {
  const told = form?.judge(errors) ?? [];
  part("summary").hidden = told.length === 0;
  if (told.length === 0) return false;
  showSummary(told);
  if (focus) {
    document.title = `${part("summary-title").textContent} · Reelgate Playground`;
    goTo(part("summary"));
  }
  return true;
}

// --- one job

function submit() {
  if (!form || part("go").getAttribute("aria-disabled") === "true") return;
  form.touchAll();
  if (form.faults().length > 0) {
    summarise(quoted);
    return;
  }
  if (performance.now() - clicked < DOUBLE_CLICK_MS) return; // the second half of a double click
  clicked = performance.now();
  const { price } = part("form").dataset;
  const text = intentText();
  const key = intent?.text === text && mayExist(intent.job) ? intent.job.key : randomKey();
  const job = newJob({ key, model: model.model_id, input: body(), price: price ? Number(price) : null });
  intent = { text, job };
  send(job);
}

/** What the form asks for now: the same text is the same intent, and so has the same Idempotency-Key. */
const intentText = () => JSON.stringify([model?.model_id, form ? body() : null]);

/** Whether a job was perhaps made, though the page was never told. */
const mayExist = (job) => job.isStopped || ["unreachable", "outcome_unknown"].includes(job.error?.code);

/** Submits and follows. With its key a job that is sent again finds itself, should it exist already. */
async function send(job) {
  part("summary").hidden = true;
  if (intent) intent.job = job;
  showIntent();
  await jobs.run(job, (options) =>
    client.subscribe(job.model, job.input, { idempotencyKey: job.key, ...options }),
  );
  showIntent();
}

/** Takes a refusal to the form, where that is what has to be corrected. Whether it did. */
function correct(job) {
  return job.model === model.model_id && job.error.errors?.length > 0 && summarise(job.error.errors);
}

/** One intent is one job: the button is shut while the job of what stands in the form is under way. */
function showIntent() {
  const isOnStage = intent !== null && jobs.current === intent.job;
  const isSending = isOnStage && intent?.job.phase === "sending";
  const isSame = isOnStage && isLive(intent?.job.phase) && intent?.text === intentText();
  part("go").setAttribute("aria-disabled", String(isSending || isSame));
  const isWaiting = isSame && !isSending;
  part("again").textContent = isWaiting ? "This job is under way. To make another, change an input." : "";
}

function reuse(job) {
  if (job.model !== model.model_id) chooseModel(job.model);
  if (!form) return;
  form.fill(job.input);
  form.touchAll();
  const prose = form.prose();
  if (prose) prose.isOwn = true;
  rehearse("");
  goTo(part("model"));
}

start();
