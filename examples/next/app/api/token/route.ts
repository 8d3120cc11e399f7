import { tokenRoute } from "reelgate/server";

/** REELGATE_KEY and REELGATE_URL are the server's; the page gets a token, and never the key. */
export const POST = tokenRoute({
  terms: () => ({
    end_user: "visitor-1", // who is signed in, as your own session says; null for nobody
    models: ["bytedance/dreamina-3-0/image-to-video"],
    bounds: { resolution: { enum: ["720P"] } },
    max_generations: 10,
  }),
});
