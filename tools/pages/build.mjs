// Makes app/console/static/sites/vendor.js and vendor.css of the packages in package-lock.json, and the lock
// of their hashes, which a test compares. Run it by `make vendor`; whoever installs Reelgate needs no Node.js.

import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const here = new URL(".", import.meta.url).pathname;
const out = `${here}../../app/console/static/sites`;
const packages = ["preact", "htm", "uplot"];

/** uPlot without the lines and curves that no page draws: no flag of its own leaves them out. */
const leaner = {
  name: "leaner",
  setup({ onLoad }) {
    onLoad({ filter: /uPlot\.esm\.js$/ }, ({ path }) => {
      let contents = readFileSync(path, "utf8");
      for (const line of ["(paths.stepped = stepped);", "(paths.spline  = monotoneCubic);"]) {
        if (!contents.includes(line)) throw new Error(`uPlot has no line ${line}`);
        contents = contents.replace(line, "");
      }
      return { contents };
    });
  },
};
await build({
  absWorkingDir: here,
  plugins: [leaner],
  entryPoints: ["entry.js"],
  outfile: `${out}/vendor.js`,
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  legalComments: "none",
  banner: { js: "// Preact, htm and uPlot; their licences are in licences/, how this was made in tools/pages." },
});
// The plots have no title and no legend of uPlot's.
const rules = readFileSync(`${here}node_modules/uplot/dist/uPlot.min.css`, "utf8").split(/(?<=\})/);
writeFileSync(`${out}/vendor.css`, rules.filter((one) => !/^\.u-(title|legend|inline|series)/.test(one)).join(""));
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
