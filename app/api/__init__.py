"""The HTTP edge: routes, wire documents and problem documents."""
