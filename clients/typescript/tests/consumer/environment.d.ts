/** As much of Node.js as the examples use. */
declare const process: { env: Record<string, string | undefined> };
