import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { experimental_generateVideo as generateVideo } from "ai";
import { Reelgate } from "reelgate";
import { reelgate } from "reelgate/ai-sdk";
import { scripted } from "./scripted.mjs";

const FILE = new URL("../../../app/catalog/models/bytedance/dreamina-3-0/image-to-video.json", import.meta.url);
const MODEL = JSON.parse(readFileSync(FILE, "utf8"));
MODEL.media_inputs = [{ pointer: "#/image_urls/*", kind: "image", types: [] }];
const VIDEO = "https://v.example/a.mp4";
const PICTURE = Uint8Array.of(137, 80, 78, 71, 13, 10, 26, 10, 0);

/** A gateway that makes a video, or what `result` says, and loses the first answers to a submit. */
function gateway({ result = { status: "succeeded", output: { video: VIDEO } }, losing = 0 } = {}) {
  const looks = [{ status: "in_queue" }, { status: "in_progress" }, result];
  return scripted([], async ({ url, method }) => {
    if (url.endsWith("/result")) return { json: { request_id: "r", ...(looks.length > 1 ? looks.shift() : looks[0]) } };
    if (method === "GET") return { json: MODEL };
    if (losing-- > 0) return { status: 503, json: { code: "upstream_busy", title: "Busy.", retryable: true } };
    return { json: { request_id: "r" } };
  });
}
const generate = (options, more = {}) =>
  generateVideo({
    model: reelgate(options).video(MODEL.model_id),
    prompt: { text: "the boats rock gently", image: PICTURE },
    poll: { intervalMs: 1 },
    maxRetries: 2,
    download: async () => ({ data: new Uint8Array(8), mediaType: "video/mp4" }),
    ...more,
  });

test("the AI SDK's words become the model's input, by its schema", async () => {
  const { calls, options } = gateway();
  const more = { duration: 10, resolution: "1920x1080", seed: 3, providerOptions: { reelgate: { seed: 4 } } };
  const { video, warnings } = await generate(options, { ...more, fps: 24 });
  assert.equal(video.uint8Array.length, 8);
  const { image_urls, ...input } = JSON.parse(calls.find(({ method }) => method === "POST").body);
  assert.deepEqual(input, { prompt: "the boats rock gently", number_of_frames: 241, resolution: "1080P", seed: 4 });
  assert.match(image_urls[0], /^data:image\/png;base64,iVBORw0KGg/);
  assert.deepEqual(warnings.map(({ feature }) => feature), ["fps"]);
});

test("however often a start is sent, it has the key of the SDK", async () => {
  const { calls, options } = gateway({ losing: 2 });
  await generate(options);
  const keys = calls.filter(({ method }) => method === "POST").map(({ headers }) => headers["idempotency-key"]);
  assert.deepEqual([keys.length, new Set(keys).size], [3, 1]);
  assert.match(keys[0], /^aisdk_vid_/);
});

test("a job that failed is an error that says why", async () => {
  const { options } = gateway({ result: { status: "failed", error: "too dark" } });
  await assert.rejects(generate(options, { maxRetries: 0 }), /too dark/);
});

test("a provider is made of a client that there is", async () => {
  const { options } = gateway();
  await generate(new Reelgate(options));
});
