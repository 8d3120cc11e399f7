"""One process on two ports: which of two applications answers is decided by the port of the connection."""

from starlette.types import ASGIApp, Receive, Scope, Send


class Ports:
    """Serves `admin` on the port `admin_port`, and `public` on every other, with its lifespan."""

    def __init__(self, public: ASGIApp, admin: ASGIApp, admin_port: int) -> None:
        self._public = public
        self._admin = admin
        self._admin_port = admin_port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request by the local port that it came to."""
        server = scope.get("server")
        is_admin = scope["type"] == "http" and server is not None and server[1] == self._admin_port
        await (self._admin if is_admin else self._public)(scope, receive, send)
