// The visitor's own files as data: URIs, made to fit into a request together; and what a file is, in words.

import { FileError, fit, ROOM } from "./client-files.js";
import { bytes } from "./playground-kit.js";

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
  try {
    const { value, size, made } = await fit(file, { most, types, kind });
    return { value, size, note: made ? noteOf(file, size, made) : "" };
  } catch (error) {
    return { fault: faultOf(error, file, kind), isLarge: error instanceof FileError && error.reason === "size" };
  }
}

function noteOf(file, size, { why, width, height, from }) {
  const done = why === "smaller" ? "Made smaller to fit into a request" : "Made a JPEG";
  const before = `${from.width}×${from.height}, ${bytes(file.size)}`;
  return `${done}: ${before} → ${width}×${height}, ${bytes(size)}. An address keeps the original.`;
}

function faultOf(error, file, kind) {
  const reason = error instanceof FileError ? error.reason : "unreadable";
  if (reason === "type") return `is not a ${NOUN[kind]}: ${file.name}`;
  if (reason === "unreadable") return `cannot be read as a ${NOUN[kind]}: ${file.name}`;
  if (file.type.startsWith("image/")) return "cannot be made small enough";
  return `has ${bytes(file.size)}, but a request can hold ${bytes(ROOM)} of files. Upload it, or give its https address`;
}

/** What was seen of a file, in a line: "JPEG · 1600×900 · 279 kB". */
export function factsLine(seen) {
  const type = seen.type?.split("/").pop().toUpperCase();
  const pixels = seen.width && seen.height && `${seen.width}×${seen.height}`;
  return [type, pixels, seen.size_bytes && bytes(seen.size_bytes)].filter(Boolean).join(" · ");
}
