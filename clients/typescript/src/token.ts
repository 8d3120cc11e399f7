import { ReelgateError } from "./errors.js";

/** The characters of a key or token, as RFC 6750 has them. */
export const BEARER = /^[\w.~+/-]+=*$/;

/** The token in what getToken gave. Where there is none, the error says what there is instead. */
export async function tokenIn(given: any): Promise<{ token: string; expires_at: string }> {
  const answer = given instanceof Response ? given : undefined;
  if (answer) given = jsonIn((await answer.text()).trim());
  const { token, expires_at, status } = typeof given === "string" ? { token: given } : given ?? {};
  if (answer?.ok !== false && BEARER.test(token ?? "")) return { token, expires_at };
  throw noToken(given, answer?.status ?? status);
}

function jsonIn(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** What fails to be parsed by getToken was no JSON; its other errors are the page's own. */
export function notJson(error: unknown): never {
  throw error instanceof SyntaxError ? noToken(`what is not JSON: ${error.message}`) : error;
}

function noToken(given: any, status?: number): ReelgateError {
  const title = "The page was given no client token.";
  const texts = given && typeof given === "object" ? [given.title, given.detail, given.message, given.error] : [given];
  const words = texts.filter((one) => typeof one === "string").join(" ");
  const plain = words.replace(/(<[^>]*>|\s)+/g, " ").trim(); // of a page, for example a proxy's
  const shown = plain || (given === "" ? "an empty answer" : String(JSON.stringify(given)));
  const said = shown.replace(/rg_\w+/g, "rg_…").slice(0, 300); // messages are logged and shown
  const detail = `${title} ${status ? `The token endpoint answered HTTP ${status}:` : "getToken gave"} ${said}`;
  const remedy = "getToken has to return the answer of POST /v1/client-tokens, or the token in it.";
  const retryable = status === 429 || status! > 499;
  return new ReelgateError({ code: "no_token", title, detail, status, retryable, remedy }, { cause: given });
}
