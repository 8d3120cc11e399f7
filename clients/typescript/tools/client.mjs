// Puts the compiled core together as one module, app/console/static/client.js, with its types beside it; and what the
// playground makes pictures smaller with, client-files.js. A module has
// its imports from the others alone, so that they can stand one after another; what two of them name alike is an
// error of the syntax. With --check it only says whether the files are as they should be.
//
//   node tools/client.mjs BUILD [--check]

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const [build, check] = process.argv.slice(2);
const target = fileURLToPath(new URL("../../../app/console/static", import.meta.url));
const source = fileURLToPath(new URL("../src", import.meta.url));
const MODULES = ["version", "errors", "token", "patience", "sending", "connection", "place", "follower", "watch", "client"];
const PUBLIC = /^export ((?:const version|class (?:ReelgateError|Reelgate))\b)/gm;

const HEAD = `/**
 * Reelgate in a web page: submit a job with a client token, watch it live, get its result.
 * No dependency. Built by \`make clients-js\` from clients/typescript/src, which has the reasons;
 * client.d.ts describes every shape and error.
 */
`;
const TYPES_HEAD = `/**
 * Types of /client.js: Reelgate in a web page, with a client token that your own server has made
 * (\`POST /v1/client-tokens\`). The module also runs in workers and in Node 20.
 *
 * \`\`\`js
 * import { Reelgate } from "https://reelgate.example/client.js";
 *
 * const gate = new Reelgate({ getToken: () => fetch("/my/token", { method: "POST" }) });
 * const result = await gate.run("bytedance/dreamina-3-0/image-to-video", input, {
 *   onUpdate: ({ status, queuePosition }) => show(status, queuePosition),
 * });
 * video.src = result.output.video;
 * \`\`\`
 *
 * Documents of the gateway keep the gateway's names (\`request_id\`); objects that this module makes have
 * JavaScript's (\`requestId\`). Times are ISO 8601 in UTC unless a name or a comment says otherwise.
 *
 * **Trying again.** A call that meets a network failure or a \`retryable\` problem is repeated after 1 to 15
 * seconds, or when \`Retry-After\` says: at most six times in all, within a minute. Following a request ends
 * after ten minutes without a sign of life. Every submit has an \`Idempotency-Key\`: it makes one request,
 * however often it is sent. All other problems are thrown at once, and so is every 422, because the input
 * has to be corrected.
 *
 * **Errors.** A problem, a gateway that cannot be reached, and a request that ends without an output are a
 * {@link ReelgateError}. What \`getToken\` or \`onUpdate\` throws is thrown unchanged by the call, and an aborted
 * call rejects with its signal's \`reason\`.
 */
`;

const plain = join(build, "plain"); // the same without comments
const read = (folder, name) => readFileSync(join(folder, name), "utf8");
const withoutImports = (text) => text.replace(/^(?:import|export) (?:type )?(?:\*|{[^}]*}) from "\.\/[\w-]+\.js";\n/gm, "");
const narrow = (text) => text.replace(/^(?: {4})+/gm, (spaces) => " ".repeat(spaces.length / 2));

function moduleOf(name) {
  const text = narrow(withoutImports(read(plain, `${name}.js`)));
  return text.replace(PUBLIC, "EXPORT $1").replace(/^export /gm, "").replace(/^EXPORT /gm, "export ");
}

function declarationsOf(name) {
  return narrow(withoutImports(read(build, `${name}.d.ts`))).replace(/^export declare /gm, "export ");
}

const FILES_HEAD = "// Built by `make clients-js` from clients/typescript/src/files.ts. Change nothing here.\n";
const written = (name) => withoutImports(read(source, name)).trim() + "\n";
const files = {
  "client.js": HEAD + MODULES.map(moduleOf).join(""),
  "client.d.ts": [
    TYPES_HEAD,
    declarationsOf("version"),
    declarationsOf("errors"),
    declarationsOf("client"),
    ...["types.ts", "documents.ts", "models.ts"].map(written),
  ].join("\n"),
  "client-files.js": FILES_HEAD + narrow(read(plain, "files.js")),
  "client-files.d.ts": FILES_HEAD + narrow(read(build, "files.d.ts")),
};
for (const [name, text] of Object.entries(files)) {
  const file = join(target, name);
  if (existsSync(file) && readFileSync(file, "utf8") === text) continue;
  if (!check) writeFileSync(file, text);
  else {
    console.error(`app/console/static/${name} is not what clients/typescript makes: run make clients-js.`);
    process.exitCode = 1;
  }
}
