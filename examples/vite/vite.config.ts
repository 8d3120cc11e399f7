import react from "@vitejs/plugin-react";
import { tokenHandler } from "reelgate/server";
import { defineConfig, type Plugin } from "vite";

/** What your own backend does in production: it has the API key, and gives the page a client token. */
function tokens(): Plugin {
  const handler = tokenHandler({
    terms: () => ({
      end_user: "visitor-1", // who is signed in, as your own session says
      models: ["bytedance/dreamina-3-0/image-to-video"],
      max_generations: 10,
    }),
  });
  return {
    name: "tokens",
    configureServer(server) {
      server.middlewares.use("/token", handler);
    },
  };
}

const gateway = process.env.REELGATE_URL;
if (!gateway || !process.env.REELGATE_KEY) throw new Error("Set REELGATE_URL and REELGATE_KEY.");
export default defineConfig({
  plugins: [react(), tokens()],
  define: { GATEWAY: JSON.stringify(gateway) }, // the address, and never the key
});
