"""A backend that has the key: tokens for its pages, submits of its own, and the webhook that tells their end.

uvicorn backend:app --port 8000, with REELGATE_URL, REELGATE_KEY and REELGATE_WEBHOOK_SECRET set.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import FastAPI, Header, HTTPException, Request
from fastapi.responses import JSONResponse
from reelgate_client import AsyncReelgate, InvalidWebhook, ReelgateError
from reelgate_client.webhooks import verify

MODEL = "bytedance/dreamina-3-0/image-to-video"


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """One client for the whole application."""
    async with AsyncReelgate() as app.state.reelgate:
        app.state.finished = {}  # yours is a table: the webhook's id is its primary key
        yield


app = FastAPI(lifespan=lifespan)


def user_of(request: Request) -> str:
    """Returns who calls. Yours reads your own session."""
    return request.headers.get("X-User", "visitor")


@app.exception_handler(ReelgateError)
async def refused(_: Request, error: ReelgateError) -> JSONResponse:
    """Tells our page what the gateway told us: it knows what to do about each code."""
    said = {
        "code": error.code,
        "detail": error.detail,
        "errors": error.errors,
        "request_id": error.request_id,
    }
    return JSONResponse(said, status_code=error.status or 503)


@app.post("/token")
async def token(request: Request) -> dict[str, Any]:
    """A token for one user's page: a few videos, of one model, for ten minutes."""
    reelgate: AsyncReelgate = request.app.state.reelgate
    minted = await reelgate.create_client_token(
        end_user=user_of(request), models=[MODEL], max_generations=5, lifetime_s=600
    )
    return {"token": minted["token"], "expires_at": minted["expires_at"]}


@app.post("/videos", status_code=202)
async def make_video(
    request: Request, order: dict[str, Any], idempotency_key: Annotated[str, Header()]
) -> dict[str, str]:
    """Submits and does not wait: the webhook tells the end.

    The page makes the key, once for each order, so a repeated order is one video.
    """
    reelgate: AsyncReelgate = request.app.state.reelgate
    given = {"image_urls": [order["picture"]], "prompt": order["prompt"]}
    handle = await reelgate.submit(MODEL, given, idempotency_key=f"{user_of(request)}-{idempotency_key}")
    return {"request_id": handle.id}


@app.get("/videos/{request_id}")
async def video(request: Request, request_id: str) -> dict[str, Any]:
    """How an order stands. Yours checks that it is the caller's."""
    reelgate: AsyncReelgate = request.app.state.reelgate
    result = await reelgate.result(request_id)
    told = request_id in request.app.state.finished.values()
    return {"status": result["status"], "output": result.get("output"), "told_by_webhook": told}


@app.post("/webhook", status_code=204)
async def webhook(request: Request) -> None:
    """Takes what the gateway tells us. The same event can come twice: its id says so."""
    try:
        event = verify(
            await request.body(), request.headers, os.environ["REELGATE_WEBHOOK_SECRET"].split(",")
        )
    except InvalidWebhook as error:
        raise HTTPException(400, error.detail) from error
    if str(event["type"]).startswith("request."):
        request.app.state.finished[request.headers["webhook-id"]] = event["data"]["request_id"]
