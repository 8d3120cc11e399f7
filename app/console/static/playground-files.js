// The visitor's own files as data: URIs, made to fit into a request together; and what a file is, in words.

import { bytes, el } from "./playground-kit.js";

const BODY = 262_144; // what a request may hold, base64 and all
const ROOM = Math.floor(((BODY - 16_384) * 3) / 4); // for the files of a request together, as files
const LONGEST = 2048; // pixels of a picture that is made smaller
const QUALITIES = [0.9, 0.8, 0.68];
export const NOUN = { image: "picture", video: "video", audio: "sound", any: "file" };

/** The visitor's own files in a form. They share the room; each change makes them fit anew. */
export class Shelf {
  #places = new Map(); // control -> { file, types, kind, tell }

  async put(place, order) {
    this.#places.set(place, order);
    await this.#fit();
  }

  async remove(place) {
    if (this.#places.delete(place)) await this.#fit();
  }

  /** The small ones first: what they leave over is shared by the others. */
  async #fit() {
    const orders = [...this.#places.values()].sort((one, other) => one.file.size - other.file.size);
    let room = ROOM;
    for (const [index, order] of orders.entries()) {
      const made = await fitted(order, Math.floor(room / (orders.length - index)));
      room -= made.size ?? 0;
      if ([...this.#places.values()].includes(order)) order.tell(made);
    }
  }
}

/** The file as a data: URI within so many bytes; a picture is made smaller where need be. */
async function fitted({ file, types, kind }, most) {
  const isRight =
    types.length > 0 ? types.includes(file.type) : kind === "any" || file.type.startsWith(`${kind}/`);
  try {
    if (isRight && file.size <= most) return { value: await dataUri(file), size: file.size, note: "" };
    if (file.type.startsWith("image/") && (kind === "image" || kind === "any"))
      return await smaller(file, most, isRight);
  } catch {
    return { fault: `cannot be read as a ${NOUN[kind]}: ${file.name}` };
  }
  const fault = isRight
    ? `has ${bytes(file.size)}, but a request can hold ${bytes(ROOM)} of files. Give its https address instead`
    : `is not a ${NOUN[kind]}: ${file.name}`;
  return { fault };
}

async function smaller(file, most, isRight) {
  const bitmap = await createImageBitmap(file);
  const { width, height } = bitmap;
  const canvas = el("canvas");
  for (let scale = Math.min(1, LONGEST / Math.max(width, height)); scale * width > 16; scale *= 0.8) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.max(1, Math.round(height * scale));
    const brush = canvas.getContext("2d");
    brush.fillStyle = "#fff"; // a JPEG has no transparency
    brush.fillRect(0, 0, canvas.width, canvas.height);
    brush.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    for (const quality of QUALITIES) {
      const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", quality));
      if (!blob || blob.size > most) continue;
      const why = isRight ? "Made smaller to fit into a request" : "Made a JPEG";
      const from = `${width}×${height}, ${bytes(file.size)}`;
      const to = `${canvas.width}×${canvas.height}, ${bytes(blob.size)}`;
      return {
        value: await dataUri(blob),
        size: blob.size,
        note: `${why}: ${from} → ${to}. An address keeps the original.`,
      };
    }
  }
  return { fault: "cannot be made small enough" };
}

const dataUri = (blob) =>
  new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });

/** What was seen of a file, in a line: "JPEG · 1600×900 · 279 kB". */
export function factsLine(seen) {
  const type = seen.type?.split("/").pop().toUpperCase();
  const pixels = seen.width && seen.height && `${seen.width}×${seen.height}`;
  return [type, pixels, seen.size_bytes && bytes(seen.size_bytes)].filter(Boolean).join(" · ");
}
