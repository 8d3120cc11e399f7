"""The HTTP edge: routes, wire documents and problem documents. FastAPI is imported here and in `main` alone."""
