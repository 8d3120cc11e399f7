"use client";

import { useState } from "react";
import { Reelgate } from "reelgate";
import { useGeneration } from "reelgate/react";

/** The picture and the wish; `resume` is why a page that is loaded again goes on with its job. */
export function Maker({ gateway }: { gateway: string }) {
  const [gate] = useState(
    () => new Reelgate({ baseUrl: gateway, getToken: () => fetch("/api/token", { method: "POST" }) }),
  );
  const [picture, setPicture] = useState("");
  const [prompt, setPrompt] = useState("the boats rock gently");
  const { run, cancel, isRunning, update, output, error } = useGeneration(
    gate,
    "bytedance/dreamina-3-0/image-to-video",
    { resume: "clip" },
  );
  return (
    <>
      <p>
        <label>
          Picture <input type="url" size={60} value={picture} onChange={(event) => setPicture(event.target.value)} />
        </label>
      </p>
      <p>
        <label>
          Prompt <input value={prompt} size={60} onChange={(event) => setPrompt(event.target.value)} />
        </label>
      </p>
      <p>
        <button onClick={() => run({ image_urls: [picture], prompt })} disabled={!picture || isRunning}>
          Make a video
        </button>{" "}
        <button onClick={cancel} disabled={!isRunning}>
          Cancel
        </button>{" "}
        <output>{isRunning && `${update?.status ?? "submitting"} ${update?.queuePosition ?? ""}`}</output>
      </p>
      {error instanceof Error && <p role="alert">{error.message}</p>}
      {output?.video && <video src={output.video} controls autoPlay muted width={640} />}
    </>
  );
}
