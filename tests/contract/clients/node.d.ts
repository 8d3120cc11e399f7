declare module "node:assert/strict";
declare const process: { argv: string[]; env: Record<string, string | undefined> };
