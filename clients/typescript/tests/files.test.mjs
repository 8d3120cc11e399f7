import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { download, DownloadError, fit, fitAll, FileError, ROOM } from "reelgate/files";

const WHOLE = Uint8Array.from({ length: 1000 }, (_, at) => at % 251);
const HASH = createHash("sha256").update(WHOLE).digest("hex");

/** A host of the file that breaks off as often as told, after so many bytes. */
function host({ breaks = 0, after = 300, ranges = true, tag = '"a"', length = true } = {}) {
  const asked = [];
  const fetch = async (_url, { headers }) => {
    asked.push(headers.Range);
    const from = ranges && headers.Range ? Number(/\d+/.exec(headers.Range)[0]) : 0;
    const rest = WHOLE.slice(from);
    const cut = breaks-- > 0;
    const body = new ReadableStream({
      start(controller) {
        controller.enqueue(cut ? rest.slice(0, after) : rest);
        if (!cut) controller.close();
      },
      pull: (controller) => cut && controller.error(new TypeError("terminated")),
    });
    const sizes = length ? { "Content-Length": String(rest.length) } : {};
    const more = from ? { "Content-Range": `bytes ${from}-999/1000` } : {};
    return new Response(body, { status: from ? 206 : 200, headers: { ETag: tag, ...sizes, ...more, "Content-Type": "video/mp4" } });
  };
  return { fetch, asked };
}
const bytesOf = async (blob) => new Uint8Array(await blob.arrayBuffer());

test("a download goes on where it broke off, and is the whole file", async () => {
  const { fetch, asked } = host({ breaks: 2 });
  const told = [];
  const file = await download("https://v.example/a.mp4", { fetch, sha256: HASH, onProgress: (...one) => told.push(one) });
  assert.deepEqual(await bytesOf(file), WHOLE);
  assert.deepEqual(asked, [undefined, "bytes=300-", "bytes=600-"]);
  assert.deepEqual([file.type, told.at(-1)], ["video/mp4", [1000, 1000]]);
});

test("a host without ranges or with a weak tag gives the file anew", async () => {
  for (const how of [{ ranges: false }, { tag: 'W/"a"' }]) {
    const file = await download("https://v.example/a.mp4", { fetch: host({ breaks: 1, ...how }).fetch });
    assert.deepEqual(await bytesOf(file), WHOLE);
  }
});

test("another file than was promised is refused", async () => {
  const other = download("https://v.example/a.mp4", { fetch: host().fetch, sha256: "00" });
  await assert.rejects(other, DownloadError);
  const gone = async () => new Response("gone", { status: 404 });
  await assert.rejects(download("https://v.example/a.mp4", { fetch: gone }), /HTTP 404/);
});

test("a file that fits goes as it is, and another is refused with a reason", async () => {
  const small = new Blob([WHOLE], { type: "image/png" });
  const { value, size, made } = await fit(small);
  assert.deepEqual([value.slice(0, 22), size, made], ["data:image/png;base64,", 1000, undefined]);
  assert.deepEqual(new Uint8Array(Buffer.from(value.slice(22), "base64")), WHOLE);
  const reasonOf = (error) => error instanceof FileError && error.reason;
  assert.equal(await fit(new Blob(["x"], { type: "text/plain" })).catch(reasonOf), "type");
  assert.equal(await fit(new Blob([new Uint8Array(ROOM + 1)], { type: "image/png" })).catch(reasonOf), "size");
  const files = await fitAll([small, new Blob(["x"], { type: "image/png" })]);
  assert.deepEqual(files.map((one) => one.size), [1000, 1]);
});
