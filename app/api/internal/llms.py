"""The catalogue as texts for language models, each made when it is first asked for."""

from fastapi import Request
from starlette.responses import PlainTextResponse, Response

from app.api.deps import Open
from app.documents.generations import llms
from app.errors import MODEL_NOT_FOUND, Problem


async def get_llms_txt(request: Request, gateway: Open) -> Response:
    """What the gateway is and how to use it, for a language model."""
    texts = _texts(request)
    if "" not in texts:
        texts[""] = llms.index(gateway.catalog.models.values(), gateway.base_url)
    return PlainTextResponse(texts[""])


async def get_llms_txt_of_model(request: Request, gateway: Open, model_id: str) -> Response:
    """The inputs, rules and price of one model, for a language model."""
    texts = _texts(request)
    model = gateway.catalog.models.get(model_id.strip("/"))
    if model is None:
        raise Problem(MODEL_NOT_FOUND, f"There is no model {model_id[:200]!r} in the catalogue.")
    if model.model_id not in texts:
        texts[model.model_id] = llms.of_model(model, gateway.base_url)
    return PlainTextResponse(texts[model.model_id])


def _texts(request: Request) -> dict[str, str]:
    """The texts that were made since the start, by the id of their model: the catalogue does not change."""
    state = request.app.state
    if not hasattr(state, "llms"):
        state.llms = {}
    made: dict[str, str] = state.llms
    return made
