// Writes src/documents.ts from openapi.json and src/models.ts from the catalogue, by the compiled src/schema.ts;
// with --check it only says whether they are as they should be.
//
//   node tools/documents.mjs BUILD [--check]

import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const [build, check] = process.argv.slice(2);
const root = fileURLToPath(new URL("../../..", import.meta.url));
const source = fileURLToPath(new URL("../src", import.meta.url));
const { declaration, modelTypes } = await import(pathToFileURL(resolve(build, "schema.js")).href);
const contract = JSON.parse(readFileSync(join(root, "openapi.json"), "utf8"));
const schemas = contract.components.schemas;

// What the client answers with. src/types.ts has Result and Problem, whose types are wider than the contract's.
const ROOTS = ["State", "Submitted", "Status", "Cancelled", "Request", "RequestPage", "Model", "ModelPage", "Quote", "Quota"];
ROOTS.push("Usage", "ClientTokenTerms", "MintedClientToken", "ClientTokenPage", "ClientTokenInFull", "UploadedFile");
const QUERIES = { RequestsQuery: "/v1/requests", ModelsQuery: "/v1/models", UsageQuery: "/v1/usage", TokensQuery: "/v1/client-tokens" };

function reached(names, found = new Set()) {
  for (const name of names) {
    if (found.has(name)) continue;
    found.add(name);
    const text = JSON.stringify(schemas[name]);
    reached([...text.matchAll(/#\/components\/schemas\/(\w+)/g)].map(([, other]) => other), found);
  }
  return found;
}

function queryOf(path) {
  const parameters = contract.paths[path].get.parameters.filter((one) => one.in === "query" && one.name !== "format");
  const properties = parameters.map(({ name, schema, description }) => [name, { ...schema, description }]);
  return { type: "object", properties: Object.fromEntries(properties) };
}

const kept = Object.keys(schemas).filter((name) => reached(ROOTS).has(name));
const documents = [
  "// The documents of the API, written from openapi.json by `make clients-js`. Change nothing here.\n",
  ...kept.map((name) => declaration(name, schemas[name])),
  ...Object.entries(QUERIES).map(([name, path]) => declaration(name, queryOf(path))),
];

const catalogue = join(root, "app/catalog/models");
const files = readdirSync(catalogue, { recursive: true }).filter((name) => name.endsWith(".json"));
const models = files.map((name) => JSON.parse(readFileSync(join(catalogue, name), "utf8")));
const told = "/** The input and output of the models that this gateway comes with. `npx reelgate types` writes those of yours. */\n";
const written = "// Written from the catalogue by `make clients-js`. Change nothing here.\n\n";

const made = { "documents.ts": documents.join("\n"), "models.ts": written + told + modelTypes(models) };
for (const [name, text] of Object.entries(made)) {
  const file = join(source, name);
  let is = "";
  try {
    is = readFileSync(file, "utf8");
  } catch {} // there is none yet
  if (is === text) continue;
  if (!check) writeFileSync(file, text);
  else {
    console.error(`clients/typescript/src/${name} is not what openapi.json and the catalogue say: run make clients-js.`);
    process.exitCode = 1;
  }
}
