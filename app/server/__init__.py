"""The HTTP server under the application: protocol, transport and edge. Only this package knows uvicorn."""
