/**
 * Verifies what a gateway posts to your endpoints, as Standard Webhooks has it, by WebCrypto: in Node.js, Deno and
 * edge runtimes alike.
 */

/** The body of a webhook. Its `data` depends on the `type`, such as `request.completed`. */
export interface WebhookEvent<Data = any> {
  type: string;
  timestamp: string;
  data: Data;
}

export interface VerifyOptions {
  /** The endpoint's secret, `whsec_…`; while it is rotated, the new one and the old one. */
  secret: string | readonly string[];
  /** How far the message's time may be from now, in seconds. Default: 300. */
  tolerance?: number;
  /** The present time, in milliseconds; for tests. */
  now?: number;
}

/** The webhook was not made with the secret, or is too old to be acted on. Answer 400; nothing of it is to be believed. */
export class WebhookError extends Error {
  override readonly name = "WebhookError";
}

/** A verified webhook: its id, which is the same for every attempt and replay, and its event. */
export interface VerifiedWebhook<Data = any> {
  id: string;
  event: WebhookEvent<Data>;
}

/**
 * The event of a request to your endpoint, if its signature is right; throws a {@link WebhookError} otherwise.
 *
 * An event may come more than once: act on each `id` once.
 */
export async function verifyWebhook<Data = any>(
  request: Request,
  options: VerifyOptions,
): Promise<VerifiedWebhook<Data>> {
  return verifyMessage(new Uint8Array(await request.arrayBuffer()), request.headers, options);
}

/** The same, of a body exactly as it came, and its headers: for servers without `Request`. */
export async function verifyMessage<Data = any>(
  body: string | Uint8Array,
  headers: Headers | Record<string, string | string[] | undefined>,
  { secret, tolerance = 300, now = Date.now() }: VerifyOptions,
): Promise<VerifiedWebhook<Data>> {
  const given = headers instanceof Headers ? headers : new Headers(Object.entries(headers).map(plain));
  const [id, timestamp, signatures] = ["id", "timestamp", "signature"].map((one) => given.get(`webhook-${one}`));
  if (!id || !timestamp || !signatures) throw new WebhookError("It has no webhook-id, -timestamp or -signature.");
  const bytes = typeof body === "string" ? new TextEncoder().encode(body) : body;
  const keys = await Promise.all((typeof secret === "string" ? [secret] : secret).map(keyOf));
  const signed = joined(new TextEncoder().encode(`${id}.${timestamp}.`), bytes);
  const found = signatures.split(" ").filter((one) => one.startsWith("v1,"));
  const tries = found.flatMap((one) => keys.map((key) => isRight(key, one.slice(3), signed)));
  if (!(await Promise.all(tries)).includes(true)) throw new WebhookError("No signature is of this body and secret.");
  if (!/^\d+$/.test(timestamp) || Math.abs(now / 1000 - Number(timestamp)) > tolerance)
    throw new WebhookError(`It was sent at ${timestamp}, which is more than ${tolerance} seconds from now.`);
  return { id, event: JSON.parse(new TextDecoder().decode(bytes)) };
}

async function keyOf(secret: string): Promise<CryptoKey> {
  const raw = bytesIn(secret.replace(/^whsec_/, ""));
  if (!raw?.length) throw new TypeError("The secret of a webhook is whsec_ and base64.");
  return crypto.subtle.importKey("raw", raw, { name: "HMAC", hash: "SHA-256" }, false, ["verify"]);
}

async function isRight(key: CryptoKey, signature: string, signed: Uint8Array<ArrayBuffer>): Promise<boolean> {
  const bytes = bytesIn(signature);
  return bytes !== undefined && crypto.subtle.verify("HMAC", key, bytes, signed); // in constant time
}

function bytesIn(base64: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  } catch {
    return undefined;
  }
}

function joined(...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

const plain = ([name, value]: [string, string | string[] | undefined]): [string, string] => [name, String(value ?? "")];
