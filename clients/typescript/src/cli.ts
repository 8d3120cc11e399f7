#!/usr/bin/env node
// `npx reelgate types`: the types of the models that a gateway serves, as a file of your own.

import { readFile, writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { ReelgateError } from "./errors.js";
import { modelTypes, type Schema } from "./schema.js";
import { fromEnvironment } from "./server.js";

const HELP = `reelgate types [--out FILE] [--url URL] [--from FILE ...]

Writes an interface Models with the input and output of every model that the key may use. Then:

  import type { Models } from "./reelgate-models.js";
  const gate = new Reelgate<Models>({ … });

  --out FILE    where to write it (default: reelgate-models.ts; - for standard output)
  --url URL     the gateway (default: the environment's REELGATE_URL)
  --from FILE   models from files of a catalogue, and no gateway is asked

The API key is the environment's REELGATE_KEY; it needs the scope read.
`;
const HEAD = "// Written by `npx reelgate types`. Change nothing here: write it anew.\n\n";
const PAGE = 100;

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      out: { type: "string", default: "reelgate-models.ts" },
      url: { type: "string" },
      from: { type: "string", multiple: true },
      help: { type: "boolean", short: "h" },
    },
  });
  if (values.help || positionals.join() !== "types") {
    console.error(HELP);
    process.exitCode = values.help ? 0 : 2;
    return;
  }
  const models = values.from ? await Promise.all(values.from.map(read)) : await served(values.url);
  const text = HEAD + modelTypes(models);
  if (values.out === "-") process.stdout.write(text);
  else await writeFile(values.out, text);
  console.error(`${models.length} models${values.out === "-" ? "" : ` in ${values.out}`}`);
}

async function served(baseUrl?: string): Promise<Schema[]> {
  const gate = fromEnvironment({ baseUrl });
  const models: Schema[] = [];
  for (let total = 1; models.length < total; ) {
    const page = await gate.models({ include_schema: true, limit: PAGE, offset: models.length });
    models.push(...page.models);
    total = page.models.length ? page.total : 0;
  }
  return models;
}

const read = async (file: string): Promise<Schema> => JSON.parse(await readFile(file, "utf8"));

main().catch((error: unknown) => {
  const isPlain = error instanceof ReelgateError || error instanceof TypeError || (error as any)?.code;
  console.error(isPlain ? `reelgate: ${(error as Error).message}` : error);
  process.exitCode = 1;
});
