/**
 * The token endpoint of your own server: it has the API key, knows who is signed in, and gives their page a client
 * token. One function for whatever speaks `Request` and `Response` (Next.js, Hono, Remix, Deno, Bun, edge runtimes),
 * one for Express.
 */

import { Reelgate } from "./client.js";
import type { ClientTokenTerms } from "./documents.js";
import { ReelgateError } from "./errors.js";
import type { Options, Problem } from "./types.js";

export { ReelgateError } from "./errors.js";
export { verifyMessage, verifyWebhook, WebhookError } from "./webhooks.js";
export type { VerifiedWebhook, VerifyOptions, WebhookEvent } from "./webhooks.js";

/** What a token may do, or null for whoever is to have none. */
export type TermsOf<Asked> = (request: Asked) => ClientTokenTerms | null | Promise<ClientTokenTerms | null>;

export interface TokenOptions<Asked> extends Pick<Options, "baseUrl" | "fetch"> {
  /** With the scope `tokens:create`. Default: the environment's REELGATE_KEY. */
  apiKey?: string;
  /** The gateway's address. Default: the environment's REELGATE_URL. */
  baseUrl?: string | URL;
  /** Who asks, by your own session, and what they may do. Without it everybody who can call it gets the same token. */
  terms: ClientTokenTerms | TermsOf<Asked>;
}

/** The client of this server, by REELGATE_KEY and REELGATE_URL. */
export function fromEnvironment(options: Partial<Options> = {}): Reelgate {
  const { REELGATE_KEY, REELGATE_URL } = (globalThis as any).process?.env ?? {};
  const { apiKey = REELGATE_KEY, baseUrl = REELGATE_URL, ...more } = options;
  if (!apiKey) throw new TypeError("There is no API key: set REELGATE_KEY, or give an apiKey.");
  if (!baseUrl) throw new TypeError("There is no gateway: set REELGATE_URL, or give a baseUrl.");
  return new Reelgate({ apiKey, baseUrl, ...more });
}

/**
 * A handler of `POST` that answers with a client token: `export const POST = tokenRoute({ terms })` in Next.js.
 *
 * Pages of other sites get none: a browser says where a call is from, and it has to be from here.
 */
export function tokenRoute<Asked extends Request>(options: TokenOptions<Asked>): (request: Asked) => Promise<Response> {
  return async (request) => {
    const { status, document } = await minted(options, request, request.headers.get("Sec-Fetch-Site"));
    return new Response(JSON.stringify(document), { status, headers: headersOf(status) });
  };
}

/** As much of Express's request and response as is used. */
export interface ExpressRequest {
  headers: Record<string, string | string[] | undefined>;
}
export interface ExpressResponse {
  writeHead(status: number, headers: Record<string, string>): unknown;
  end(body: string): unknown;
}

/**
 * The same for Express, Connect and Node's own server: `app.post("/token", tokenHandler({ terms }))`. What `terms` throws
 * goes to `next`, where there is one.
 */
export function tokenHandler<Asked extends ExpressRequest>(
  options: TokenOptions<Asked>,
): (request: Asked, response: ExpressResponse, next?: (error: unknown) => void) => Promise<void> {
  return async (request, response, next) => {
    try {
      const { status, document } = await minted(options, request, request.headers["sec-fetch-site"]);
      response.writeHead(status, headersOf(status));
      response.end(JSON.stringify(document));
    } catch (error) {
      if (!next) throw error;
      next(error);
    }
  };
}

interface Answer {
  status: number;
  document: unknown;
}

async function minted<Asked>(options: TokenOptions<Asked>, request: Asked, site: unknown): Promise<Answer> {
  const { terms, ...client } = options;
  if (site === "cross-site") return refusal(403, "cross_site", "This page is not of this site.");
  try {
    const granted = typeof terms === "function" ? await terms(request) : terms;
    if (!granted) return refusal(401, "not_signed_in", "Nobody is signed in who may have a token.");
    const { token, expires_at } = await fromEnvironment(client).mint(granted);
    return { status: 201, document: { token, expires_at } };
  } catch (error) {
    if (!(error instanceof ReelgateError)) throw error;
    console.error(`Reelgate made no client token: ${error.message} (${error.code}, trace ${error.traceId ?? "none"})`);
    // What is wrong with the key or the terms is this server's fault, and no concern of a page's.
    const isTheirs = error.status === 429 || (error.retryable && error.status !== 422);
    if (!isTheirs) return refusal(500, "no_token", "The server could make no token; its log says why.");
    return refusal(503, error.code, error.title, error.retryAfter);
  }
}

function refusal(status: number, code: string, title: string, retry_after_s?: number): Answer {
  const document: Problem = { code, title, status, retryable: status === 503, retry_after_s };
  return { status, document };
}

const headersOf = (status: number): Record<string, string> => ({
  "Content-Type": status < 400 ? "application/json" : "application/problem+json",
  "Cache-Control": "no-store",
});
