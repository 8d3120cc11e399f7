"""The baseline of the comparison, a bare FastAPI route of each kind: `python -m bench.baseline PORT`.

It has no key, log or database: what is left is the cost of HTTP, uvicorn and FastAPI on this machine.
"""

from typing import Any

from fastapi import FastAPI

from bench.children import serve_until_parent_ends

GET_PATH = "/jobs/{job_id}/status"
POST_PATH = "/jobs"

app = FastAPI(openapi_url=None)


@app.get(GET_PATH)
async def get_job(job_id: str) -> dict[str, str]:
    """Returns a small response."""
    return {"request_id": job_id, "status": "completed"}


@app.post(POST_PATH)
async def post_job(body: dict[str, Any]) -> dict[str, Any]:
    """Returns a small response to a body that was parsed as JSON."""
    return {"request_id": "0", "members": len(body)}


if __name__ == "__main__":
    serve_until_parent_ends(app)
