// Drives a gateway with openapi-fetch, over the types that openapi-typescript made; tsc checks this file first.
import assert from "node:assert/strict";
import createClient from "openapi-fetch";

const MODEL = "bytedance/dreamina-3-0/image-to-video";
const { KEY, PICTURE = "" } = process.env;

/** @type {import("openapi-fetch").Client<import("./schema.d.ts").paths>} */
const client = createClient({ baseUrl: process.argv[2], headers: { Authorization: `Bearer ${KEY}` } });

/** @template T @param {{ data?: T, error?: unknown }} answer @returns {T} */
function good({ data, error }) {
  assert.equal(error, undefined);
  return /** @type {T} */ (data);
}

const list = good(
  await client.GET("/v1/models", { params: { query: { search: "dreamina", include_schema: true } } }),
);
assert.equal(list.models[0].input_schema?.type, "object");
assert.deepEqual(good(await client.GET("/v1/models/categories")).categories, ["image-to-video"]);
const ofModel = { params: { path: { model_id: MODEL } } };
assert.equal(good(await client.GET("/v1/models/{model_id}", ofModel)).inputs[0], "image_urls");
const body = { image_urls: [PICTURE], prompt: "a boat [sandbox:canned]" };
assert.ok(good(await client.POST("/v1/quotes/{model_id}", { ...ofModel, body })).price_microcredits);

const header = { "Idempotency-Key": crypto.randomUUID() };
const keyed = { params: { path: { model_id: MODEL }, header }, body };
const made = good(await client.POST("/v1/models/{model_id}", keyed));
assert.deepEqual(good(await client.POST("/v1/models/{model_id}", keyed)), made);
const path = { request_id: made.request_id };
assert.ok(good(await client.GET("/v1/requests/{request_id}/status", { params: { path } })).status);
/** @type {import("./schema.d.ts").components["schemas"]["Result"]} */
let result;
do {
  const params = { path, query: { include_cost: true } };
  result = good(await client.GET("/v1/requests/{request_id}/result", { params }));
} while (!["succeeded", "failed", "cancelled"].includes(result.status));
assert.equal(result.status, "succeeded");
const record = good(await client.GET("/v1/requests/{request_id}", { params: { path } }));
assert.equal(record.events.at(-1)?.state, "completed");
/** @type {string | undefined} */
const stream = good(
  await client.GET("/v1/requests/{request_id}/events", { params: { path }, parseAs: "text" }),
);
assert.match(stream ?? "", /event: state/);

const typed = { image_urls: [PICTURE], prompt: "[sandbox:queued]", number_of_frames: /** @type {121} */ (121) };
const queued = good(await client.POST(`/v1/models/${MODEL}`, { body: typed }));
const cancelled = good(
  await client.POST("/v1/requests/{request_id}/cancel", { params: { path: { request_id: queued.request_id } } }),
);
assert.equal(cancelled.outcome, "cancelled");
assert.equal(good(await client.GET("/v1/requests")).requests.length, 2);
assert.equal(good(await client.GET("/v1/quota")).mode, "test");

const refused = await client.POST("/v1/models/{model_id}", { ...ofModel, body: {} });
assert.deepEqual(refused.error?.errors?.map(({ pointer }) => pointer), ["#/image_urls", "#/prompt"]);
