import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { ReelgateError } from "reelgate";
import { Generation } from "../dist/generation.js";

/** A tab's storage, and a gateway whose submits and jobs end when the test says so. */
let stored;
beforeEach(() => {
  stored = new Map();
  globalThis.sessionStorage = {
    getItem: (name) => stored.get(name) ?? null,
    setItem: (name, value) => stored.set(name, value),
    removeItem: (name) => stored.delete(name),
  };
});
const kept = () => JSON.parse(stored.get("reelgate clip") ?? "null");

function gateway({ known = {} } = {}) {
  const told = { submits: [], follows: [], cancels: [] };
  const gate = {
    submit: (model, input, { idempotencyKey }) =>
      new Promise((arrive, refuse) => told.submits.push({ model, input, idempotencyKey, arrive, refuse })),
    follow: (requestId, { signal, onUpdate }) =>
      new Promise((end, fail) => {
        signal.addEventListener("abort", () => fail(signal.reason));
        told.follows.push({ requestId, end, fail, onUpdate });
      }),
    cancel: async (requestId) => void told.cancels.push(requestId),
    requests: async () => ({
      requests: Object.keys(known).map((request_id) => ({ request_id, created_at: new Date().toISOString() })),
    }),
    request: async (requestId) => ({ idempotency_key: known[requestId] }),
  };
  return { told, generation: new Generation(gate, "m", "clip"), again: () => new Generation(gate, "m", "clip") };
}
const settled = () => new Promise((resolve) => setImmediate(resolve));
const RESULT = { request_id: "r", status: "succeeded", output: { video: "v" } };

test("two presses are one submit, and a component that comes, goes and comes submits nothing", async () => {
  const { told, generation } = gateway();
  generation.enter()(); // strict mode: in, out, and in again
  const leave = generation.enter();
  const runs = [generation.run({ a: 1 }), generation.run({ a: 1 })];
  assert.equal(runs[0], runs[1]);
  assert.equal(told.submits.length, 1);
  assert.equal(kept().idempotencyKey, told.submits[0].idempotencyKey);
  told.submits[0].arrive({ request_id: "r" });
  await settled();
  assert.deepEqual([generation.snapshot().phase, kept().requestId], ["running", "r"]);
  told.follows[0].end(RESULT);
  await runs[0];
  const { phase, output } = generation.snapshot();
  assert.deepEqual([phase, output], ["ended", RESULT.output]);
  leave();
  void generation.run({ a: 2 });
  assert.equal(told.submits.length, 2);
  assert.notEqual(told.submits[0].idempotencyKey, told.submits[1].idempotencyKey);
});

test("a component that goes while it submits leaves the job, and finds it again", async () => {
  const { told, generation } = gateway();
  const leave = generation.enter();
  void generation.run({});
  leave();
  told.submits[0].arrive({ request_id: "r" });
  await settled();
  assert.equal(kept().requestId, "r");
  generation.enter();
  assert.equal(told.follows.at(-1).requestId, "r");
  told.follows.at(-1).end(RESULT);
  await settled();
  assert.deepEqual([generation.snapshot().phase, told.cancels], ["ended", []]);
});

test("a page that is loaded again goes on, also if it was left before the id was there", async () => {
  const { told, generation } = gateway();
  void generation.run({});
  const { idempotencyKey } = kept();
  const { told: later, again } = gateway({ known: { other: "another key", mine: idempotencyKey } });
  const reloaded = again();
  reloaded.enter()(); // strict mode: in, out, and in again
  reloaded.enter();
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual([later.submits.length, later.follows[0].requestId], [0, "mine"]);
  assert.deepEqual([reloaded.snapshot().phase, kept().requestId], ["running", "mine"]);
  assert.equal(told.submits.length, 1);
});

test("a cancel while it submits cancels what arrives", async () => {
  const { told, generation } = gateway();
  void generation.run({});
  await generation.cancel();
  assert.deepEqual(told.cancels, []);
  told.submits[0].arrive({ request_id: "r" });
  await settled();
  assert.deepEqual(told.cancels, ["r"]);
});

test("a refusal ends the run and leaves nothing to go on with; an unknown outcome is followed", async () => {
  const { told, generation } = gateway();
  const refused = generation.run({});
  told.submits[0].refuse(new ReelgateError({ code: "invalid_input", title: "No.", status: 422 }));
  assert.equal(await refused, undefined);
  assert.deepEqual([generation.snapshot().phase, generation.snapshot().error.code, kept()], ["ended", "invalid_input", null]);
  void generation.run({});
  told.submits[1].refuse(new ReelgateError({ code: "outcome_unknown", title: "Lost.", request_id: "r" }));
  await settled();
  assert.equal(told.follows[0].requestId, "r");
});

test("what was forgotten tells nothing any more", async () => {
  const { told, generation } = gateway();
  void generation.run({});
  told.submits[0].arrive({ request_id: "r" });
  await settled();
  generation.reset();
  told.follows[0].end(RESULT);
  await settled();
  assert.deepEqual([generation.snapshot().phase, kept()], ["idle", null]);
});

test("a component that leaves and comes back while it submits goes on", async () => {
  const { told, generation } = gateway();
  const leave = generation.enter();
  void generation.run({});
  leave();
  generation.enter();
  told.submits[0].arrive({ request_id: "r" });
  await settled();
  told.follows.at(-1).end(RESULT);
  await settled();
  assert.deepEqual([told.submits.length, generation.snapshot().output], [1, RESULT.output]);
});

test("what is forgotten while it submits is not followed, and another run is its own", async () => {
  const { told, generation } = gateway();
  void generation.run({ a: 1 });
  generation.reset();
  const second = generation.run({ a: 2 });
  told.submits[0].arrive({ request_id: "first" });
  await settled();
  assert.equal(generation.snapshot().phase, "submitting");
  told.submits[1].arrive({ request_id: "second" });
  await settled();
  assert.equal(kept().requestId, "second");
  told.follows.find(({ requestId }) => requestId === "first").end({ ...RESULT, output: { video: "first" } });
  told.follows.find(({ requestId }) => requestId === "second").end(RESULT);
  await second;
  assert.deepEqual(generation.snapshot().output, RESULT.output);
});
