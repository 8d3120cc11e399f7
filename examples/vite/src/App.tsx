import { useState } from "react";
import { Reelgate } from "reelgate";
import { fit } from "reelgate/files";
import { useGeneration, useQuota } from "reelgate/react";

declare const GATEWAY: string; // vite.config.ts

const gate = new Reelgate({ baseUrl: GATEWAY, getToken: () => fetch("/token", { method: "POST" }) });

export function App() {
  const [file, setFile] = useState<File>();
  const [prompt, setPrompt] = useState("the boats rock gently");
  const { run, cancel, isRunning, update, output, error } = useGeneration(
    gate,
    "bytedance/dreamina-3-0/image-to-video",
    { resume: "clip" },
  );
  const { quota, refresh } = useQuota(gate);
  const [fault, setFault] = useState<unknown>();

  async function make() {
    setFault(undefined);
    try {
      const picture = await fit(file!, { types: ["image/jpeg", "image/png"] });
      await run({ image_urls: [picture.value], prompt });
    } catch (caught) {
      setFault(caught);
    }
    refresh();
  }

  const generations = quota?.limits.find(({ metric }) => metric === "generations-total");
  const told = fault ?? error;
  return (
    <main>
      <h1>A video of your own</h1>
      <p>
        <label>
          Picture <input type="file" accept="image/*" onChange={(event) => setFile(event.target.files?.[0])} />
        </label>
      </p>
      <p>
        <label>
          Prompt <input value={prompt} size={60} onChange={(event) => setPrompt(event.target.value)} />
        </label>
      </p>
      <p>
        <button onClick={make} disabled={!file || isRunning}>
          Make a video
        </button>{" "}
        <button onClick={cancel} disabled={!isRunning}>
          Cancel
        </button>{" "}
        <output>
          {isRunning && `${update?.status ?? "submitting"} ${update?.queuePosition ?? ""}`}
          {generations && ` ${generations.remaining} of ${generations.limit} videos left.`}
        </output>
      </p>
      {told instanceof Error && <p role="alert">{told.message}</p>}
      {output?.video && <video src={output.video} controls autoPlay muted width={640} />}
    </main>
  );
}
