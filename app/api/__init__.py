"""The HTTP API: routes, wire documents and problem documents."""
