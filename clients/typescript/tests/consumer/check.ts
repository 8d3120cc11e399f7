// What must compile, and what must not, for who has installed the package.

import { Reelgate, ReelgateError, type Models, type Quota, type Update } from "reelgate";
import { reelgate } from "reelgate/ai-sdk";
import { download, fit } from "reelgate/files";
import { useGeneration, useQuota } from "reelgate/react";
import { tokenHandler, tokenRoute } from "reelgate/server";
import { verifyWebhook } from "reelgate/webhooks";
import type { Models as Written } from "./reelgate-models.js";

const MODEL = "bytedance/dreamina-3-0/image-to-video";
const gate = new Reelgate({ getToken: () => fetch("/token", { method: "POST" }), baseUrl: "https://a.example" });
const input: Models[typeof MODEL]["input"] = { image_urls: ["https://a.example/a.jpg"], prompt: "a boat" };

export async function all(): Promise<string | undefined> {
  await gate.submit(MODEL, { ...input, resolution: "720P", number_of_frames: 241 });
  // @ts-expect-error -- there is no such resolution
  await gate.submit(MODEL, { ...input, resolution: "8K" });
  // @ts-expect-error -- the prompt is missing
  await gate.run(MODEL, { image_urls: [] });
  // @ts-expect-error -- there is no such input
  await gate.run(MODEL, { ...input, promt: "a boat" });
  await gate.quote(MODEL, { prompt: "a boat" });
  await gate.run("some/other/model", { anything: true });
  const model: string = MODEL;
  await gate.run(model, { anything: true });

  const result = await gate.run(MODEL, input, { onUpdate: ({ queuePosition }: Update) => queuePosition });
  const video: string | undefined = result.output?.video;
  // @ts-expect-error -- this model has no such output
  result.output?.sound;
  for await (const { state } of gate.events(result.request_id)) void state;
  const quota: Quota = await gate.quota();
  void [quota, download, fit, verifyWebhook, useQuota, tokenHandler({ terms: {} })];
  return video;
}

export const POST = tokenRoute({ terms: (request: Request) => ({ end_user: request.url, max_generations: 3 }) });
// @ts-expect-error -- there is no such term
tokenRoute({ terms: { max_generation: 3 } });

export function Component(): unknown {
  const { run, output, error } = useGeneration(gate, MODEL, { resume: "clip" });
  // @ts-expect-error -- a run has the model's input
  void run({ prompt: 1 });
  void run(input);
  const mine = new Reelgate<Written>({ apiKey: "k", baseUrl: "https://a.example" });
  void useGeneration(mine, MODEL).run(input);
  return output?.video ?? (error instanceof ReelgateError && error.remedy);
}

export const model = reelgate({ apiKey: "k", baseUrl: "https://a.example" }).video(MODEL);
