/** Files of the visitor's own as data: URIs, made to fit into a request together; and outputs, fetched whole. */

/** How many bytes of files a request holds: its body has 256 KiB, base64 and all. */
export const ROOM = Math.floor(((262_144 - 16_384) * 3) / 4);

const LONGEST = 2048; // pixels of a picture that is made smaller
const QUALITIES = [0.9, 0.8, 0.68];

export interface FitOptions {
  /** The most bytes that it may have. Default: what a request holds. */
  most?: number;
  /** The accepted media types, such as those of `media_inputs` of the model; empty: all of the kind. */
  types?: readonly string[];
  /** `image` by default: pictures are made smaller where need be. Others have to fit as they are. */
  kind?: "image" | "video" | "audio" | "any";
}

/** A file as part of an input. */
export interface Fitted {
  /** The data: URI. */
  value: string;
  /** Its size in bytes, as a file. */
  size: number;
  /** What was changed, if anything was: the picture is then a JPEG of `width` and `height`. */
  made?: { why: "smaller" | "jpeg"; width: number; height: number; from: { width: number; height: number } };
}

/** A file that cannot go into a request. `reason` says why, for programs. */
export class FileError extends Error {
  override readonly name = "FileError";
  constructor(
    readonly reason: "type" | "size" | "unreadable",
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/**
 * The file by value. A picture that has too many bytes, or another type than the model takes, becomes a smaller JPEG,
 * which takes a browser; everything else that does not fit is a {@link FileError}.
 */
export async function fit(file: Blob, options: FitOptions = {}): Promise<Fitted> {
  const { most = ROOM, types = [], kind = "image" } = options;
  const isOfKind = kind === "any" || file.type.startsWith(`${kind}/`);
  const isRight = types.length > 0 ? types.includes(file.type) : isOfKind;
  if (isRight && file.size <= most) return { value: await dataUri(file), size: file.size };
  const isPicture = file.type.startsWith("image/") && (kind === "image" || kind === "any");
  if (isPicture && globalThis.document) return smaller(file, most, isRight);
  if (!isRight) throw new FileError("type", `The file is ${file.type || "of an unknown type"}, which is not accepted.`);
  throw new FileError("size", `The file has ${file.size} bytes; ${most} fit into a request. Give its https address.`);
}

/** Several files that share the room of a request: what small ones leave over is for the others. In the order given. */
export async function fitAll(files: readonly Blob[], options: FitOptions = {}): Promise<Fitted[]> {
  const order = [...files.keys()].sort((one, other) => files[one]!.size - files[other]!.size);
  const made: Fitted[] = [];
  let room = options.most ?? ROOM;
  for (const [count, index] of order.entries()) {
    made[index] = await fit(files[index]!, { ...options, most: Math.floor(room / (order.length - count)) });
    room -= made[index].size;
  }
  return made;
}

async function smaller(file: Blob, most: number, isRight: boolean): Promise<Fitted> {
  const bitmap = await createImageBitmap(file).catch((cause: unknown) => {
    throw new FileError("unreadable", "The file cannot be read as a picture.", { cause });
  });
  const { width, height } = bitmap;
  const canvas = document.createElement("canvas");
  for (let scale = Math.min(1, LONGEST / Math.max(width, height)); scale * width > 16; scale *= 0.8) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.max(1, Math.round(height * scale));
    const brush = canvas.getContext("2d")!;
    brush.fillStyle = "#fff"; // a JPEG has no transparency
    brush.fillRect(0, 0, canvas.width, canvas.height);
    brush.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    for (const quality of QUALITIES) {
      const blob = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, "image/jpeg", quality));
      if (!blob || blob.size > most) continue;
      const why = isRight ? "smaller" : "jpeg";
      const made = { why, width: canvas.width, height: canvas.height, from: { width, height } } as const;
      return { value: await dataUri(blob), size: blob.size, made };
    }
  }
  throw new FileError("size", `The picture cannot be made small enough for ${most} bytes.`);
}

async function dataUri(blob: Blob): Promise<string> {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  let text = "";
  for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return `data:${blob.type};base64,${btoa(text)}`;
}

export interface DownloadOptions {
  signal?: AbortSignal;
  /** A replacement for the global fetch. */
  fetch?: typeof fetch;
  /** Told of every piece: bytes that are here, and bytes in all where the server says. */
  onProgress?: (bytes: number, total?: number) => void;
  /** The SHA-256 that the file has to have, in hexadecimal. */
  sha256?: string;
}

/** What was fetched is not the whole file, or another one. */
export class DownloadError extends Error {
  override readonly name = "DownloadError";
}

const TRIES = 5; // in a row without a byte

/**
 * A file of an output, whole: a connection that breaks is taken up where it broke, and length and hash are checked.
 * Into a file of Node.js: `await writeFile("a.mp4", (await download(url)).stream())`.
 */
export async function download(url: string | URL, options: DownloadOptions = {}): Promise<Blob> {
  const { signal, fetch = globalThis.fetch.bind(globalThis), onProgress, sha256 } = options;
  let parts: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  let total: number | undefined;
  let tag: string | null = null;
  let type = "";
  for (let failures = 0; ; ) {
    const before = size;
    try {
      const headers: Record<string, string> = size && tag ? { Range: `bytes=${size}-`, "If-Range": tag } : {};
      const answer = await fetch(url, { headers, signal, credentials: "omit" });
      if (answer.status >= 500 || answer.status === 429) throw new TypeError(`HTTP ${answer.status}`);
      if (!answer.ok || !answer.body) throw new DownloadError(`The file cannot be had: HTTP ${answer.status}.`);
      const range = /^bytes (\d+)-\d+\/(\d+)$/.exec(answer.headers.get("Content-Range") ?? "");
      if (answer.status !== 206 || Number(range?.[1]) !== size) [parts, size] = [[], 0]; // it begins anew
      const length = answer.headers.get("Content-Encoding") ? 0 : Number(answer.headers.get("Content-Length"));
      total = range && size ? Number(range[2]) : length || undefined;
      const etag = answer.headers.get("ETag");
      tag = etag?.startsWith("W/") ? null : (etag ?? answer.headers.get("Last-Modified"));
      type = answer.headers.get("Content-Type") ?? "";
      const reader = answer.body.getReader();
      for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
        parts.push(piece.value as Uint8Array<ArrayBuffer>);
        size += piece.value.length;
        onProgress?.(size, total);
      }
      if (total !== undefined && size < total) throw new TypeError("The connection broke.");
      break;
    } catch (cause) {
      signal?.throwIfAborted();
      if (!(cause instanceof TypeError)) throw cause; // a network's failure is a TypeError
      failures = size > before ? 1 : failures + 1;
      if (failures >= TRIES) throw new DownloadError(`The file broke off after ${size} bytes.`, { cause });
      await new Promise((resolve) => setTimeout(resolve, 250 * 2 ** failures));
    }
  }
  const file = new Blob(parts, { type });
  if (total !== undefined && file.size !== total) throw new DownloadError(`It has ${file.size} bytes, not ${total}.`);
  if (sha256 && (await hashOf(file)) !== sha256.toLowerCase()) throw new DownloadError("Its SHA-256 is another one.");
  return file;
}

async function hashOf(file: Blob): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", await file.arrayBuffer()));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
