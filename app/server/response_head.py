"""The head of an answer that is written by hand: as uvicorn and the edge would write it."""

from collections.abc import Mapping

from starlette.responses import Response

from app.server.edge import TRACE_HEADER, Edge
from app.server.request_head import Headers


class ResponseHead:
    """The first lines of a head, which change once a second."""

    def __init__(self) -> None:
        self._dated: Headers = ()
        self._lines = b""

    def begin(self, dated: Headers) -> bytes:
        """Returns the status line of a 200 with the headers that the server sends with every response."""
        if dated is not self._dated:
            lines = [b"HTTP/1.1 200 OK", *(name + b": " + value for name, value in dated)]
            self._dated, self._lines = dated, b"\r\n".join([*lines, b""])
        return self._lines


def template(edge: Edge, response: Response, varying: Mapping[bytes, bytes]) -> bytes:
    """Returns the headers of a response as the ordinary way sends them, up to the value of the trace id.

    It is to be formatted: in place of what varies it has what `varying` says.
    """
    lines = [
        name + b": " + varying.get(name, value.replace(b"%", b"%%"))
        for name, value in edge.final_headers(response.raw_headers, "", ())
        if name != TRACE_HEADER
    ]
    return b"\r\n".join([*lines, TRACE_HEADER + b": "])
