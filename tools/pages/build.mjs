// Makes app/console/static/sites/vendor.js and vendor.css of the packages in package-lock.json, and the lock
// of their hashes, which a test compares. Run it by `make vendor`; whoever installs Reelgate needs no Node.js.

import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const here = new URL(".", import.meta.url).pathname;
const out = `${here}../../app/console/static/sites`;
const packages = ["preact", "htm", "uplot"];

await build({
  absWorkingDir: here,
  entryPoints: ["entry.js"],
  outfile: `${out}/vendor.js`,
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  legalComments: "none",
  banner: { js: "// Preact, htm and uPlot; their licences are in licences/, how this was made in tools/pages." },
});
copyFileSync(`${here}node_modules/uplot/dist/uPlot.min.css`, `${out}/vendor.css`);
mkdirSync(`${out}/licences`, { recursive: true });
const lock = { packages: {}, files: {} };
for (const name of packages) {
  const { version, license } = JSON.parse(readFileSync(`${here}node_modules/${name}/package.json`, "utf8"));
  lock.packages[name] = { version, license };
  copyFileSync(`${here}node_modules/${name}/LICENSE`, `${out}/licences/${name}.txt`);
}
for (const file of ["vendor.js", "vendor.css", ...packages.map((name) => `licences/${name}.txt`)]) {
  lock.files[file] = createHash("sha256").update(readFileSync(`${out}/${file}`)).digest("hex");
}
writeFileSync(`${out}/vendor.lock.json`, `${JSON.stringify(lock, null, 2)}\n`);
