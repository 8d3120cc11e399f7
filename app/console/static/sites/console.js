// The operators' console: which pages there are. Each is a module of its own.

import { html } from "./vendor.js";
import { OperatorForm, told } from "./console-sign-in.js";
import { start } from "./frame.js";
import { Audit } from "./console-audit.js";
import { Credentials, Models, Queue } from "./console-queue.js";
import { Now } from "./console-now.js";
import { Requests } from "./console-requests.js";
import { System } from "./console-system.js";
import { Tenants } from "./console-tenants.js";
import { Usage } from "./console-usage.js";
import { OperatorsWebhooks } from "./webhooks.js";

start({
  name: "console",
  title: "Console",
  pages: [
    { path: "", title: "Now", Page: Now },
    { path: "requests", title: "Requests", Page: Requests },
    { path: "tenants", title: "Tenants", Page: Tenants },
    { path: "usage", title: "Usage", Page: Usage },
    { path: "queue", title: "Queue", Page: Queue },
    { path: "models", title: "Models and prices", Page: Models },
    { path: "credentials", title: "Credentials", Page: Credentials },
    { path: "webhooks", title: "Webhooks", Page: OperatorsWebhooks },
    { path: "audit", title: "Audit", Page: Audit },
    { path: "system", title: "System", Page: System },
  ],
  links: (me) => [["Guides", `${me.base_url}/docs/guides`], ["Admin API", "admin/openapi.json"]],
  enter: told,
  Form: OperatorForm,
  Who: ({ me }) => html`<span class="who"><strong>${me.name}</strong> · ${me.scopes.join(", ")}</span>`,
});
