"""The server under the application: HTTP protocol, transport, edge. All that knows uvicorn."""
