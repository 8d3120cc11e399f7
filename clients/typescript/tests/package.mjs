// The package as it would be published: packed, installed beside its peers, type-checked by two compilers, judged by
// publint and attw, and weighed.

import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const MODULES = join(ROOT, "node_modules");
const EXAMPLES = ["vite/src/App.tsx", "next/app/maker.tsx", "next/app/api/token/route.ts", "next/app/api/webhook/route.ts"];
const MOST = 8192; // bytes of the core for browsers, as a bundler makes it
const folder = mkdtempSync(join(tmpdir(), "reelgate-package-"));
let failures = 0;

function step(name, command, args, cwd = folder) {
  const done = spawnSync(command, args, { cwd, encoding: "utf8", env: { ...process.env, NO_COLOR: "1" } });
  if (done.status === 0) return console.log(`ok   ${name}`);
  failures += 1;
  console.log(`FAIL ${name}\n${done.stdout}${done.stderr}`);
}
const node = (name, script, args, cwd) => step(name, process.execPath, [join(MODULES, script), ...args], cwd);

try {
  execFileSync("npm", ["pack", "--silent", "--ignore-scripts", "--pack-destination", folder], { cwd: ROOT });
  const tarball = join(folder, readdirSync(folder)[0]);
  cpSync(join(ROOT, "tests/consumer"), folder, { recursive: true });
  for (const file of EXAMPLES) cpSync(join(ROOT, "../../examples", file), join(folder, "examples", file));
  mkdirSync(join(folder, "node_modules"));
  for (const name of ["react", "@types", "@ai-sdk"])
    if (existsSync(join(MODULES, name))) symlinkSync(join(MODULES, name), join(folder, "node_modules", name));
  execFileSync("tar", ["xzf", tarball, "-C", join(folder, "node_modules")]);
  execFileSync("mv", [join(folder, "node_modules/package"), join(folder, "node_modules/reelgate")]);

  const catalogue = join(ROOT, "../../app/catalog/models/bytedance/dreamina-3-0/image-to-video.json");
  const command = join(folder, "node_modules/reelgate/dist/cli.js");
  step("reelgate types", process.execPath, [command, "types", "--from", catalogue]);
  node("types under TypeScript 7", "typescript/bin/tsc", ["--project", folder]);
  node("types under TypeScript 5.9", "typescript-5/bin/tsc", ["--project", folder]);
  node("publint", "publint/src/cli.js", ["run", tarball, "--strict"]);
  node("attw", "@arethetypeswrong/cli/dist/index.js", [tarball, "--profile", "esm-only"]);
  const bundle = join(folder, "core.js");
  const flags = ["--bundle", "--minify", "--format=esm", `--outfile=${bundle}`, "--log-level=error"];
  step("bundle", join(MODULES, ".bin/esbuild"), [join(folder, "node_modules/reelgate/dist/index.js"), ...flags]);
  const size = gzipSync(readFileSync(bundle), { level: 9 }).length;
  if (size > MOST) failures += 1;
  console.log(`${size > MOST ? "FAIL" : "ok  "} the core for browsers has ${size} bytes, gzipped`);
} finally {
  rmSync(folder, { recursive: true });
}
process.exitCode = failures ? 1 : 0;
