// What whoever uses the page can do about a refusal: the gateway's own remedies are for programmers.

import { humanised, sentence } from "./playground-kit.js";
import { tokensOf } from "./playground-schema.js";

const LATER = "Wait a little, and try again.";
const OPERATOR = "Only whoever runs this gateway can mend that. Give them the trace below.";
/** @type {Record<string, string>} */
const ADVICE = {
  body_too_large: "Use a smaller file, or the address of one.",
  database_unavailable: LATER,
  dispatch_paused: "Whoever runs this gateway has paused it. Try again later.",
  expired_client_token: "Reload the page.",
  gateway_queue_full: LATER,
  internal_error: OPERATOR,
  invalid_client_token: "Reload the page.",
  invalid_input: "Correct the inputs that are named, and send it again.",
  media_unreachable: "Check that the file’s address opens in another tab, or choose a file of your own.",
  model_not_allowed: "Choose another model.",
  model_not_found: "Choose another model.",
  no_token: "Reload the page. If that does not help, tell whoever runs this gateway.",
  origin_not_allowed: "Open the playground at the gateway’s own address.",
  out_of_bounds: "Choose values within what this page may use.",
  outcome_unknown: "It may have been made all the same: do not send it again, but follow it.",
  queue_full: "Wait until one of your jobs has ended.",
  quota_exceeded: LATER,
  request_not_found: "A job can be seen in the browser that made it, and nowhere else.",
  route_not_found: "",
  shutting_down: LATER,
  too_many_streams: "Close other tabs with this page.",
  unreachable: "Check your connection. Sent again, it is still one job, and not a second one.",
  upstream_busy: "RunComfy has no room at the moment. Wait a little, and try again.",
  upstream_credential_refused: OPERATOR,
  upstream_not_configured: OPERATOR,
  upstream_rejected: "Change the input, and send it again. Nothing was spent.",
  upstream_unreachable: "RunComfy did not answer. Nothing was spent; wait a little, and try again.",
  upstream_unserved: "RunComfy does not serve this model at the moment. Choose another one.",
};

/** What to do about an error, in words for people; "" where there is nothing. */
export function adviceOn(error) {
  const known = ADVICE[error?.code ?? ""];
  if (known !== undefined || !error) return known ?? "";
  return error.retryable ? LATER : "If it goes on, tell whoever runs this gateway, with the trace below.";
}

/** One thing that is wrong with an input, by the name that the form gives it: "Prompt: Is too long." */
export function faultWords({ pointer, detail }) {
  const names = tokensOf(pointer ?? "").map((one) => (/^\d+$/.test(one) ? Number(one) + 1 : humanised(one)));
  return `${names.join(" ") || "The input"}: ${sentence(detail)}`;
}
