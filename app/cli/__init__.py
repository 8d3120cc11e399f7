"""The `reelgate` command: servers, the schema, tenants and keys, and a doctor."""
