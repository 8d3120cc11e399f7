// Built by `make clients-js` from clients/typescript/src/files.ts. Change nothing here.
export const ROOM = Math.floor(((262_144 - 16_384) * 3) / 4);
const LONGEST = 2048;
const QUALITIES = [0.9, 0.8, 0.68];
export class FileError extends Error {
  reason;
  name = "FileError";
  constructor(reason, message, options) {
    super(message, options);
    this.reason = reason;
  }
}
export async function fit(file, options = {}) {
  const { most = ROOM, types = [], kind = "image" } = options;
  const isOfKind = kind === "any" || file.type.startsWith(`${kind}/`);
  const isRight = types.length > 0 ? types.includes(file.type) : isOfKind;
  if (isRight && file.size <= most)
    return { value: await dataUri(file), size: file.size };
  const isPicture = file.type.startsWith("image/") && (kind === "image" || kind === "any");
  if (isPicture && globalThis.document)
    return smaller(file, most, isRight);
  if (!isRight)
    throw new FileError("type", `The file is ${file.type || "of an unknown type"}, which is not accepted.`);
  throw new FileError("size", `The file has ${file.size} bytes; ${most} fit into a request. Give its https address.`);
}
export async function fitAll(files, options = {}) {
  const order = [...files.keys()].sort((one, other) => files[one].size - files[other].size);
  const made = [];
  let room = options.most ?? ROOM;
  for (const [count, index] of order.entries()) {
    made[index] = await fit(files[index], { ...options, most: Math.floor(room / (order.length - count)) });
    room -= made[index].size;
  }
  return made;
}
async function smaller(file, most, isRight) {
  const bitmap = await createImageBitmap(file).catch((cause) => {
    throw new FileError("unreadable", "The file cannot be read as a picture.", { cause });
  });
  const { width, height } = bitmap;
  const canvas = document.createElement("canvas");
  for (let scale = Math.min(1, LONGEST / Math.max(width, height)); scale * width > 16; scale *= 0.8) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.max(1, Math.round(height * scale));
    const brush = canvas.getContext("2d");
    brush.fillStyle = "#fff";
    brush.fillRect(0, 0, canvas.width, canvas.height);
    brush.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    for (const quality of QUALITIES) {
      const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", quality));
      if (!blob || blob.size > most)
        continue;
      const why = isRight ? "smaller" : "jpeg";
      const made = { why, width: canvas.width, height: canvas.height, from: { width, height } };
      return { value: await dataUri(blob), size: blob.size, made };
    }
  }
  throw new FileError("size", `The picture cannot be made small enough for ${most} bytes.`);
}
async function dataUri(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  let text = "";
  for (let at = 0; at < bytes.length; at += 0x8000)
    text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return `data:${blob.type};base64,${btoa(text)}`;
}
export class DownloadError extends Error {
  name = "DownloadError";
}
const TRIES = 5;
export async function download(url, options = {}) {
  const { signal, fetch = globalThis.fetch.bind(globalThis), onProgress, sha256 } = options;
  let parts = [];
  let size = 0;
  let total;
  let tag = null;
  let type = "";
  for (let failures = 0;;) {
    const before = size;
    try {
      const headers = size && tag ? { Range: `bytes=${size}-`, "If-Range": tag } : {};
      const answer = await fetch(url, { headers, signal, credentials: "omit" });
      if (answer.status >= 500 || answer.status === 429)
        throw new TypeError(`HTTP ${answer.status}`);
      if (!answer.ok || !answer.body)
        throw new DownloadError(`The file cannot be had: HTTP ${answer.status}.`);
      const range = /^bytes (\d+)-\d+\/(\d+)$/.exec(answer.headers.get("Content-Range") ?? "");
      if (answer.status !== 206 || Number(range?.[1]) !== size)
        [parts, size] = [[], 0];
      const length = answer.headers.get("Content-Encoding") ? 0 : Number(answer.headers.get("Content-Length"));
      total = range && size ? Number(range[2]) : length || undefined;
      const etag = answer.headers.get("ETag");
      tag = etag?.startsWith("W/") ? null : (etag ?? answer.headers.get("Last-Modified"));
      type = answer.headers.get("Content-Type") ?? "";
      const reader = answer.body.getReader();
      for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
        parts.push(piece.value);
        size += piece.value.length;
        onProgress?.(size, total);
      }
      if (total !== undefined && size < total)
        throw new TypeError("The connection broke.");
      break;
    }
    catch (cause) {
      signal?.throwIfAborted();
      if (!(cause instanceof TypeError))
        throw cause;
      failures = size > before ? 1 : failures + 1;
      if (failures >= TRIES)
        throw new DownloadError(`The file broke off after ${size} bytes.`, { cause });
      await new Promise((resolve) => setTimeout(resolve, 250 * 2 ** failures));
    }
  }
  const file = new Blob(parts, { type });
  if (total !== undefined && file.size !== total)
    throw new DownloadError(`It has ${file.size} bytes, not ${total}.`);
  if (sha256 && (await hashOf(file)) !== sha256.toLowerCase())
    throw new DownloadError("Its SHA-256 is another one.");
  return file;
}
async function hashOf(file) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", await file.arrayBuffer()));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
