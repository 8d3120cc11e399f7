"""What the gateway is compared with, a bare FastAPI route of each kind: `python -m bench.baseline PORT`.

No key, no log, no database: what is left is the cost of HTTP, uvicorn and FastAPI on this machine.
"""

from typing import Any

from fastapi import FastAPI

from bench.children import serve_until_parent_ends

GET_PATH = "/jobs/{job_id}/status"
POST_PATH = "/jobs"

app = FastAPI(openapi_url=None)


@app.get(GET_PATH)
async def get_job(job_id: str) -> dict[str, str]:
    """A small answer."""
    return {"request_id": job_id, "status": "completed"}


@app.post(POST_PATH)
async def post_job(body: dict[str, Any]) -> dict[str, Any]:
    """A small answer to a body that was read as JSON."""
    return {"request_id": "0", "members": len(body)}


if __name__ == "__main__":
    serve_until_parent_ends(app)
