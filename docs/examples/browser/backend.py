"""The backend of a page: it holds the API key, and gives the page a client token.

REELGATE_KEY=rg_test_… uvicorn --app-dir docs/examples/browser backend:app --port 5173
"""

import os
from pathlib import Path

import httpx2
from fastapi import FastAPI
from fastapi.responses import HTMLResponse, JSONResponse

GATEWAY = os.environ.get("REELGATE_URL", "http://127.0.0.1:8700")
KEY = os.environ["REELGATE_KEY"]  # with the scope tokens:create
app = FastAPI()


@app.post("/token")
async def token() -> JSONResponse:
    """Mint a token for whoever is logged in; here that is always the same visitor."""
    terms = {
        "end_user": "visitor-1",  # who it is, as your own session says
        "models": ["bytedance/dreamina-3-0/image-to-video"],
        "bounds": {"resolution": {"enum": ["720P"]}, "number_of_frames": {"enum": [121]}},
        "max_generations": 3,
    }
    async with httpx2.AsyncClient(base_url=GATEWAY, headers={"Authorization": f"Bearer {KEY}"}) as client:
        answer = await client.post("/v1/client-tokens", json=terms)
    return JSONResponse(answer.json(), answer.status_code)


@app.get("/")
async def page() -> HTMLResponse:
    """The page, with the gateway's address in it."""
    text = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    return HTMLResponse(text.replace("http://127.0.0.1:8700", GATEWAY))
