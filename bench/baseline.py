"""The baselines of the comparison, on one server: `python -m bench.baseline PORT`.

A bare FastAPI route of each kind, the GET with one dependency and a response model as a gateway's would have;
and a raw ASGI application, which is the least that any route of this server can cost. None has a key that is
checked, a log or a database: what is left is the cost of HTTP, uvicorn and FastAPI on this machine.
"""

from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header
from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

from bench.children import serve_until_parent_ends

RAW_PATH = "/raw"
_BODY = b'{"request_id":"0","status":"completed"}'
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(_BODY))]

app = FastAPI(openapi_url=None)


class Job(BaseModel):
    """The answer of the GET."""

    request_id: str
    status: str


async def caller(authorization: Annotated[str, Header()]) -> str:
    """Returns who calls, unchecked."""
    return authorization.removeprefix("Bearer ")


@app.get("/jobs/{job_id}/status")
async def get_job(job_id: str, who: Annotated[str, Depends(caller)]) -> Job:
    """Returns a small response."""
    return Job(request_id=job_id, status="completed" if who else "unknown")


@app.post("/jobs")
async def post_job(body: dict[str, Any]) -> dict[str, Any]:
    """Returns a small response to a body that was parsed as JSON."""
    return {"request_id": "0", "members": len(body)}


async def serve(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the raw application at its path, and with FastAPI elsewhere."""
    if scope["path"] == RAW_PATH:
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        await send({"type": "http.response.body", "body": _BODY})
    else:
        await app(scope, receive, send)


if __name__ == "__main__":
    serve_until_parent_ends(serve)
