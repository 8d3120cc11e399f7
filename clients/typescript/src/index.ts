export { Reelgate } from "./client.js";
export type * from "./documents.js";
export { ReelgateError } from "./errors.js";
export type { Models } from "./models.js";
export type * from "./types.js";
export { version } from "./version.js";
