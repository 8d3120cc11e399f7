// Runs one history after another with /client.js in Node.js, through the relay, and prints a line of JSON for each.
// Its pauses are shortened, as told: no test waits for them; its patience with silence only where an answer is dropped.
import { request } from "node:http";

const [url, key, client, histories] = process.argv.slice(2);
const inTime = globalThis.setTimeout;
let pace = 1;
let isShort = false;
globalThis.setTimeout = (work, ms, ...more) => inTime(work, ms > 30_000 && !isShort ? ms : ms / pace, ...more);
const { Reelgate } = await import(client);
const MODEL = "bytedance/dreamina-3-0/image-to-video";

/** Over a connection of its own: those that the last history left may be stale ones. */
const ordered = (body) =>
  new Promise((resolve, reject) => {
    const call = request(`${url}/-relay`, { method: "PUT", agent: false }, (answer) => {
      answer.resume().on("end", answer.statusCode === 200 ? resolve : reject);
    });
    call.on("error", reject).end(body);
  });

for (const { plan, only, input, pace: wanted } of JSON.parse(histories)) {
  [pace, isShort] = [wanted, plan.includes("drop")];
  await ordered(JSON.stringify({ plan, only }));
  const gate = new Reelgate({ apiKey: key, baseUrl: url });
  const updates = [];
  const told = { plan };
  try {
    told.result = await gate.run(MODEL, input, { onUpdate: (update) => updates.push(update) });
  } catch (error) {
    told.error = `${error.name} ${error.code} ${error.message}`;
  }
  told.versions = updates.map(({ version }) => version);
  told.ids = [...new Set(updates.map(({ requestId }) => requestId))];
  console.log(JSON.stringify(told));
}
