import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { test } from "node:test";
import { Reelgate, ReelgateError, version } from "reelgate";
import { scripted } from "./scripted.mjs";

const MADE = { request_id: "r", status_url: "", result_url: "", cancel_url: "" };
const untilAborted = (signal) => new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));

test("a server has its key in each call, and says what it is", async () => {
  const { calls, options } = scripted([{ json: {} }]);
  await new Reelgate(options).quota();
  assert.equal(calls[0].headers.authorization, "Bearer rg_test_key");
  assert.equal(calls[0].headers["user-agent"], `reelgate-js/${version}`);
});

test("an API key in a page is refused, unless its owner insists", () => {
  globalThis.document = {};
  try {
    const options = { apiKey: "rg_test_key", baseUrl: "https://gateway.example" };
    assert.throws(() => new Reelgate(options), /client tokens/);
    new Reelgate({ ...options, dangerouslyAllowBrowser: true });
  } finally {
    delete globalThis.document;
  }
  assert.throws(() => new Reelgate({ apiKey: "k", getToken: () => "t", baseUrl: "https://a.example" }), TypeError);
});

test("who gives up a run leaves the job alone, unless it is to be cancelled", async () => {
  for (const cancelOnAbort of [false, true]) {
    const left = new AbortController();
    const cancelled = Promise.withResolvers?.() ?? {};
    const { calls, options } = scripted([], async ({ url, method, signal }) => {
      if (url.endsWith("/cancel")) {
        cancelled.resolve?.();
        return { json: { outcome: "cancelled" } };
      }
      if (method === "POST") return { json: MADE };
      return untilAborted(signal);
    });
    const onUpdate = ({ requestId }) => left.abort(new Error(`left ${requestId}`));
    const running = new Reelgate(options).run("m", {}, { signal: left.signal, onUpdate, cancelOnAbort });
    await assert.rejects(running, /left r/);
    await new Promise((resolve) => setTimeout(resolve, 10));
    const asked = calls.filter(({ url }) => url.endsWith("/cancel"));
    assert.equal(asked.length, cancelOnAbort ? 1 : 0);
  }
});

test("a submit that is under way when its caller gives up is waited for, and cancelled", async () => {
  const left = new AbortController();
  const { calls, options } = scripted([], async ({ url }) => {
    if (url.endsWith("/cancel")) return { json: { outcome: "cancelled" } };
    left.abort(new Error("left"));
    await new Promise((resolve) => setTimeout(resolve, 10));
    return { json: MADE };
  });
  const running = new Reelgate(options).run("m", {}, { signal: left.signal, cancelOnAbort: true });
  await assert.rejects(running, /left/);
  await new Promise((resolve) => setTimeout(resolve, 40));
  assert.deepEqual(calls.map(({ url }) => url.replace(/.*\/v1\//, "")), ["models/m", "requests/r/cancel"]);
});

test("nothing is sent for whoever gave up before the token was there", async () => {
  const left = new AbortController();
  const { calls, options } = scripted([{ json: MADE }]);
  const { promise, resolve } = withResolvers();
  const gate = new Reelgate({ ...options, apiKey: undefined, getToken: () => promise });
  const running = gate.run("m", {}, { signal: left.signal, cancelOnAbort: true });
  setTimeout(() => left.abort(new Error("left")), 5);
  await assert.rejects(running, /left/);
  resolve("late");
  await new Promise((done) => setTimeout(done, 10));
  assert.deepEqual(calls, []);
});

test("a signal that outlives its calls keeps nothing of them", async () => {
  const { signal } = new AbortController();
  const events = [{ version: 1, state: "completed", at: "now" }];
  const { options } = scripted([], async ({ url, method }) => {
    if (method === "POST") return { json: MADE };
    if (url.endsWith("/result")) return { json: { status: "succeeded", request_id: "r" } };
    return { text: `data: ${JSON.stringify({ status: "completed", ...events[0] })}\n\n`, type: "text/event-stream" };
  });
  const gate = new Reelgate(options);
  for (let count = 0; count < 5; count += 1) await gate.run("m", {}, { signal, cancelOnAbort: count % 2 === 0 });
  assert.equal(getEventListeners(signal, "abort").length, 0);
});

test("a key with a line's end in it is refused at once", () => {
  assert.throws(() => new Reelgate({ apiKey: "rg_test_x\n", baseUrl: "https://a.example" }), /apiKey/);
});

test("a list in a query is a parameter for each of its values", async () => {
  const { calls, options } = scripted([{ json: {} }]);
  await new Reelgate(options).usage({ by: "day", group_by: ["model", "key"], cursor: undefined });
  assert.match(calls[0].url, /\/v1\/usage\?by=day&group_by=model&group_by=key$/);
});

test("each call of keys has its address", async () => {
  const { calls, options } = scripted([{ json: {} }]);
  const gate = new Reelgate(options);
  await gate.mint({ end_user: "ada" });
  await gate.tokens({ limit: 2 });
  await gate.token("t");
  await gate.revoke("t");
  const asked = calls.map(({ method, url, body }) => `${method} ${url.replace(/.*\/v1\//, "")} ${body ?? ""}`.trim());
  const mint = 'POST client-tokens {"end_user":"ada"}';
  assert.deepEqual(asked, [mint, "GET client-tokens?limit=2", "GET client-tokens/t", "POST client-tokens/t/revoke"]);
});

test("a refusal is a typed error", async () => {
  const problem = { code: "invalid_input", title: "No.", retryable: false, remedy: "Mend it.", request_id: "r" };
  const errors = [{ pointer: "#/a", code: "b", detail: "c" }];
  const { options } = scripted([{ status: 422, json: { ...problem, errors } }]);
  const error = await new Reelgate(options).submit("m", {}).catch((caught) => caught);
  assert.ok(error instanceof ReelgateError);
  const { code, status, remedy, requestId, retryable } = error;
  assert.deepEqual([code, status, remedy, requestId, retryable], ["invalid_input", 422, "Mend it.", "r", false]);
  assert.deepEqual(error.errors, errors);
});

function withResolvers() {
  let resolve;
  const promise = new Promise((given) => (resolve = given));
  return { promise, resolve };
}

test("a file is sent as it is, with what it is for, and a token that expired is renewed on the way", async () => {
  const file = new File(["a picture"], "a boat.png");
  const made = { file_id: "f", reference: "rg-file:f" };
  const { calls, options } = scripted([{ status: 401, json: { code: "expired_client_token" } }, { json: made }]);
  let tokens = 0;
  const gate = new Reelgate({ ...options, apiKey: undefined, getToken: () => `t${++tokens}` });
  assert.deepEqual(await gate.upload(file, { model: "a/b", place: "/image_urls/*", expiresIn: 60 }), made);
  const { searchParams, pathname } = new URL(calls[1].url);
  assert.equal(pathname, "/v1/files");
  const sent = { model_id: "a/b", place: "/image_urls/*", name: "a boat.png", expires_in_s: "60" };
  assert.deepEqual(Object.fromEntries(searchParams), sent);
  assert.equal(calls[1].headers["content-type"], "application/octet-stream");
  assert.equal(calls[1].headers.authorization, "Bearer t2");
});

test("an upload that is given up ends, and in a page it tells how far it has come", async () => {
  const left = new AbortController();
  const { options } = scripted([], ({ signal }) => untilAborted(signal));
  const given = new Reelgate(options).upload(new Blob(["x"]), { signal: left.signal });
  left.abort(new Error("enough"));
  await assert.rejects(given, /enough/);
  const seen = [];
  globalThis.XMLHttpRequest = class {
    upload = {};
    open(...call) {
      seen.push(call);
    }
    setRequestHeader() {}
    abort() {}
    getAllResponseHeaders = () => "content-type: application/json\r\nreelgate-trace-id: x\r\n";
    send(body) {
      this.upload.onprogress({ loaded: body.size, total: body.size });
      Object.assign(this, { status: 201, response: '{"reference":"rg-file:f"}' });
      this.onload();
    }
  };
  try {
    const made = await new Reelgate(options).upload(new Blob(["four"]), { onProgress: (...told) => seen.push(told) });
    assert.equal(made.reference, "rg-file:f");
  } finally {
    delete globalThis.XMLHttpRequest;
  }
  assert.deepEqual(seen, [["POST", "https://gateway.example/v1/files?"], [4, 4]]);
});
