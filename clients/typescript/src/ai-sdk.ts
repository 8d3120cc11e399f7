/**
 * Video models of a gateway for the AI SDK: `generateVideo({ model: reelgate({ apiKey, baseUrl }).video(id), prompt })`.
 * One start is one job: the SDK's `idempotency-key` is the submit's.
 */

import type {
  Experimental_VideoModelV4 as VideoModel,
  Experimental_VideoModelV4CallOptions as Asked,
  Experimental_VideoModelV4File as File,
  Experimental_VideoModelV4OperationStatusResult as Progress,
  SharedV4Warning as Warning,
} from "@ai-sdk/provider";
import { Reelgate } from "./client.js";
import type { Model } from "./documents.js";
import type { Options, Result } from "./types.js";

export interface ReelgateProvider {
  /** A model of the catalogue. `providerOptions.reelgate` has members of its input as they are, and goes before all else. */
  video(modelId: string): VideoModel;
}

/** A provider by the options of a client, or for a client. */
export function reelgate(options: Options | Reelgate<any>): ReelgateProvider {
  const gate: Reelgate<any> = options instanceof Reelgate ? options : new Reelgate(options);
  return { video: (modelId) => videoModel(gate, modelId) };
}

function videoModel(gate: Reelgate<any>, modelId: string): VideoModel {
  let described: Promise<Model> | undefined;
  const responseOf = () => ({ timestamp: new Date(), modelId, headers: undefined });
  return {
    specificationVersion: "v4",
    provider: "reelgate",
    modelId,
    maxVideosPerCall: 1,
    async doStart(asked) {
      described ??= gate.model(modelId).catch((error: unknown) => {
        described = undefined;
        throw error;
      });
      const { input, warnings } = inputOf(await described, asked);
      const idempotencyKey = headerOf(asked.headers, "idempotency-key");
      const { request_id } = await gate.submit(modelId, input, { idempotencyKey, signal: asked.abortSignal });
      const providerMetadata = { reelgate: { requestId: request_id } };
      return { operation: request_id, warnings, providerMetadata, response: responseOf() };
    },
    async doStatus({ operation, abortSignal }) {
      const result = await gate.result(String(operation), { signal: abortSignal });
      return progressOf(result, responseOf());
    },
  };
}

function progressOf(result: Result, response: Progress["response"]): Progress {
  const providerMetadata = { reelgate: { requestId: result.request_id } };
  if (result.status === "in_queue" || result.status === "in_progress")
    return { status: "pending", providerMetadata, response };
  if (result.status !== "succeeded") {
    const { error } = result;
    const why = typeof error === "string" ? error : JSON.stringify(error);
    return { status: "error", error: why || `The job ${result.status}.`, providerMetadata, response };
  }
  const urls: string[] = [result.output?.video, ...(result.output?.videos ?? [])].filter(Boolean);
  const videos = urls.map((url) => ({ type: "url" as const, url, mediaType: "video/mp4" }));
  return { status: "completed", videos, warnings: [], providerMetadata, response };
}

/** What was asked in the SDK's words, in the words of the model's schema. What it has no word for is a warning. */
export function inputOf(model: Model, asked: Asked): { input: Record<string, unknown>; warnings: Warning[] } {
  const schema = (model.input_schema as any).properties ?? {};
  const input: Record<string, unknown> = {};
  const warnings: Warning[] = [];
  const put = (feature: string, value: unknown, ...names: string[]) => {
    const name = names.find((one) => one in schema);
    if (value === undefined) return;
    if (name) input[name] = value;
    else warnings.push({ type: "unsupported", feature, details: `${model.model_id} has no input for it.` });
  };
  put("prompt", asked.prompt, "prompt");
  put("seed", asked.seed, "seed");
  put("aspectRatio", asked.aspectRatio, "aspect_ratio", "ratio");
  put("fps", asked.fps, "fps", "frame_rate");
  put("generateAudio", asked.generateAudio, "generate_audio", "audio");
  put("resolution", asked.resolution && resolutionOf(asked.resolution, schema.resolution), "resolution", "size");
  const ordered = durationOf(model, asked.duration);
  if (ordered) Object.assign(input, ordered);
  else put("duration", asked.duration, "duration", "duration_seconds", "seconds");
  const frames = asked.frameImages ?? [];
  const of = (type: string) => frames.find(({ frameType }) => frameType === type)?.image;
  const first = of("first_frame") ?? asked.image;
  const last = of("last_frame");
  if (last) put("frameImages", addressOf(last), "last_image_url", "end_image_url", "last_frame_url");
  const files = [first, ...(asked.inputReferences ?? [])].filter((file) => file !== undefined);
  placeFiles(model, files.map(addressOf), input, warnings);
  Object.assign(input, asked.providerOptions?.reelgate);
  return { input, warnings };
}

/** The inputs that order so many seconds, as the model's file declares them. */
function durationOf({ output_seconds }: Model, seconds?: number): object | undefined {
  const table: { when: object; seconds: number }[] | undefined = (output_seconds as any)?.table;
  return table?.find((row) => row.seconds === seconds)?.when;
}

/** `1280x720` as `720P`, where the model names resolutions by their shorter side. */
function resolutionOf(resolution: string, schema?: { enum?: string[] }): string {
  const short = Math.min(...resolution.split("x").map(Number));
  return schema?.enum?.find((one) => one.toLowerCase() === `${short}p`) ?? resolution;
}

/** Each file where the model takes pictures: in a member of its own, or in a list. */
function placeFiles(model: Model, urls: string[], input: Record<string, unknown>, warnings: Warning[]): void {
  for (const { pointer, kind } of model.media_inputs) {
    const [, name, index] = /^#?\/([^/]+)(\/\*)?$/.exec(pointer) ?? [];
    if (kind !== "image" || !name || input[name] !== undefined || urls.length === 0) continue;
    const { maxItems = Infinity } = (model.input_schema as any).properties?.[name] ?? {};
    input[name] = index ? urls.splice(0, maxItems) : urls.shift();
  }
  if (urls.length > 0) warnings.push({ type: "unsupported", feature: "image", details: `${urls.length} too many.` });
}

function addressOf(file: File): string {
  if (file.type === "url") return file.url;
  const { data, mediaType } = file;
  return `data:${mediaType};base64,${typeof data === "string" ? data : base64(data)}`;
}

function base64(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return btoa(text);
}

function headerOf(headers: Record<string, string | undefined> = {}, wanted: string): string | undefined {
  return Object.entries(headers).find(([name]) => name.toLowerCase() === wanted)?.[1];
}
