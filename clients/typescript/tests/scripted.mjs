/** Options of a client whose network is a list of answers, of which the last goes on, or a function of the call. */
export function scripted(answers, answering = async () => (answers.length > 1 ? answers.shift() : answers[0])) {
  const calls = [];
  const fetch = async (url, { method = "GET", headers, body, signal }) => {
    const call = { url, method, headers: Object.fromEntries(new Headers(headers)), body, signal };
    calls.push(call);
    const { status = 200, json, text, type } = await answering(call);
    const kind = type ?? (status > 399 ? "application/problem+json" : "application/json");
    return new Response(text ?? JSON.stringify(json), { status, headers: { "Content-Type": kind } });
  };
  return { calls, options: { apiKey: "rg_test_key", baseUrl: "https://gateway.example", fetch } };
}
