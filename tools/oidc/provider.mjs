// An OpenID provider for a test: node provider.mjs PORT REDIRECT_URI. It forgets all when it ends.
// Anybody may sign in, with any password; the name that was typed is who they are, and their one group.

import { Provider } from "oidc-provider";

const [port, redirect] = process.argv.slice(2);
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [
    { client_id: "reelgate", client_secret: "secret of the client's", redirect_uris: [redirect] },
    {
      client_id: "public",
      token_endpoint_auth_method: "none",
      redirect_uris: [redirect],
    },
  ],
  claims: { openid: ["sub"], email: ["email"], profile: ["name", "groups"] },
  conformIdTokenClaims: false, // or the ID token has what is asked of another call
  pkce: { required: () => true },
  cookies: { keys: ["only for a test"] },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, email: `${id}@company.test`, groups: [id] }),
  }),
});
provider.listen(Number(port), "127.0.0.1", () => console.log("listening"));
