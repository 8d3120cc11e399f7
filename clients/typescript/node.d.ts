/** As much of Node.js as the command uses; the library itself needs none of it. */
declare module "node:fs/promises" {
  export function readFile(file: string, encoding: "utf8"): Promise<string>;
  export function writeFile(file: string, text: string): Promise<void>;
}
declare module "node:util" {
  export function parseArgs(config: object): { values: any; positionals: string[] };
}
declare const process: { exitCode?: number; stdout: { write(text: string): void } };
