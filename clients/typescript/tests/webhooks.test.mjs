import assert from "node:assert/strict";
import { test } from "node:test";
import { Webhook } from "standardwebhooks";
import { verifyMessage, verifyWebhook, WebhookError } from "reelgate/webhooks";

const [SECRET, OTHER] = [24, 32].map((size) => `whsec_${Buffer.alloc(size, 7).toString("base64")}`);
const NOW = 1_800_000_000_000;
const BODY = '{"type":"request.completed","timestamp":"2027-01-15T08:00:00Z","data":{"request_id":"é"}}';

function headersOf(secrets = [SECRET], { id = "msg_1", at = NOW, body = BODY } = {}) {
  const signatures = secrets.map((one) => new Webhook(one).sign(id, new Date(at), body));
  return { "webhook-id": id, "webhook-timestamp": String(Math.floor(at / 1000)), "webhook-signature": signatures.join(" ") };
}
const verify = (headers, more = {}) => verifyMessage(BODY, headers, { secret: SECRET, now: NOW, ...more });

test("what a public library signs is verified, as a Request and as a body with headers", async () => {
  const { id, event } = await verify(headersOf());
  assert.deepEqual([id, event.type, event.data], ["msg_1", "request.completed", { request_id: "é" }]);
  const request = new Request("https://a.example/hook", { method: "POST", body: BODY, headers: headersOf() });
  assert.equal((await verifyWebhook(request, { secret: SECRET, now: NOW })).id, "msg_1");
  assert.equal((await verifyMessage(Buffer.from(BODY), headersOf(), { secret: SECRET, now: NOW })).id, "msg_1");
});

test("while a secret is rotated, either of the two is enough", async () => {
  await verify(headersOf([OTHER, SECRET]));
  await verify(headersOf([OTHER]), { secret: [SECRET, OTHER] });
});

test("a changed byte, another secret, another id and another time are refused", async () => {
  const changes = [{ body: `${BODY} ` }, { id: "msg_2" }, { at: NOW + 1000 }];
  for (const change of changes) {
    const { "webhook-signature": signature } = headersOf([SECRET], change);
    await assert.rejects(verify({ ...headersOf(), "webhook-signature": signature }), WebhookError);
  }
  await assert.rejects(verify(headersOf([OTHER])), WebhookError);
  for (const broken of ["v1,", "v1,%%%", "v1a,AAAA", "v2,AAAA", ""])
    await assert.rejects(verify({ ...headersOf(), "webhook-signature": broken }), WebhookError);
});

test("a message of another time is refused, though its signature is right", async () => {
  for (const at of [NOW - 301_000, NOW + 301_000]) await assert.rejects(verify(headersOf([SECRET], { at })), /seconds/);
  await verify(headersOf([SECRET], { at: NOW - 299_000 }));
  await verify(headersOf([SECRET], { at: NOW - 900_000 }), { tolerance: 1000 });
});

test("an empty secret verifies nothing, and says so", async () => {
  for (const secret of ["", "whsec_", "whsec_%%"]) await assert.rejects(verify(headersOf(), { secret }), TypeError);
});
