import assert from "node:assert/strict";
import { test } from "node:test";
import { tokenHandler, tokenRoute } from "reelgate/server";
import { scripted } from "./scripted.mjs";

const TOKEN = { token: "rg_client_x", token_id: "t", expires_at: "2030-01-01T00:00:00Z", kid: "k" };
const asked = (headers = {}) => new Request("https://app.example/token", { method: "POST", headers });

test("a page is given the token and its end, and nothing of the key", async () => {
  const { calls, options } = scripted([{ status: 201, json: TOKEN }]);
  const terms = (request) => ({ end_user: request.headers.get("X-User") });
  const answer = await tokenRoute({ ...options, terms })(asked({ "X-User": "ada" }));
  assert.deepEqual([answer.status, await answer.json()], [201, { token: TOKEN.token, expires_at: TOKEN.expires_at }]);
  assert.equal(answer.headers.get("Cache-Control"), "no-store");
  assert.equal(calls[0].body, '{"end_user":"ada"}');
});

test("whoever has no terms, or asks from another site, is given none", async () => {
  const { calls, options } = scripted([{ json: TOKEN }]);
  assert.equal((await tokenRoute({ ...options, terms: () => null })(asked())).status, 401);
  const foreign = asked({ "Sec-Fetch-Site": "cross-site" });
  assert.equal((await tokenRoute({ ...options, terms: {} })(foreign)).status, 403);
  assert.equal(calls.length, 0);
});

test("what is wrong with the server's key is told to its log, and not to the page", async (t) => {
  const log = t.mock.method(console, "error", () => {});
  const problem = { code: "invalid_api_key", title: "The API key rg_test_x is not valid.", retryable: false };
  const { options } = scripted([{ status: 401, json: problem }]);
  const answer = await tokenRoute({ ...options, terms: {} })(asked());
  const document = await answer.json();
  assert.deepEqual([answer.status, document.code], [500, "no_token"]);
  assert.doesNotMatch(JSON.stringify(document), /rg_test_x/);
  assert.match(log.mock.calls[0].arguments[0], /invalid_api_key/);
});

test("Express is answered alike", async () => {
  const { options } = scripted([{ json: TOKEN }]);
  const told = {};
  const response = { writeHead: (status, headers) => Object.assign(told, { status, headers }), end: (body) => (told.body = body) };
  await tokenHandler({ ...options, terms: {} })({ headers: {} }, response);
  assert.deepEqual([told.status, JSON.parse(told.body).token], [201, TOKEN.token]);
  assert.equal(told.headers["Content-Type"], "application/json");
  const broken = new Error("no session");
  const terms = () => Promise.reject(broken);
  await tokenHandler({ ...options, terms })({ headers: {} }, response, (error) => (told.error = error));
  assert.equal(told.error, broken);
});

test("a server without a key or an address says which is missing", async () => {
  await assert.rejects(tokenRoute({ terms: {} })(asked()), /REELGATE_KEY/);
  await assert.rejects(tokenRoute({ apiKey: "k", terms: {} })(asked()), /REELGATE_URL/);
});
