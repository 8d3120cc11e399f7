"""The models that are served, as operators read them: with their prices and what is odd about them."""

from collections.abc import Sequence
from typing import Annotated, Any, TypedDict

from app.catalog import model as catalog
from app.documents.schema import keywords


class PricedModel(TypedDict):
    """A model that is served, and its prices in micro-credits."""

    model_id: str
    display_name: str
    price_version: str
    lowest_microcredits: int
    highest_microcredits: int
    pricing: Annotated[dict[str, Any], keywords("The price list, as the model's file has it.")]
    declares_output_seconds: Annotated[
        bool, keywords("False: limits on seconds of output refuse its requests.")
    ]
    hidden_from_clients: Annotated[
        list[str], keywords("What its entry lacks, so that RunComfy's own clients hide or refuse it.")
    ]
    warnings: Annotated[list[str], keywords("What is odd about its file.")]


class PricedModels(TypedDict):
    """Every model that is served, sorted by id."""

    models: list[PricedModel]


def models(found: Sequence[catalog.Model]) -> PricedModels:
    """Returns the document of every model's prices."""
    return {"models": [_priced(one) for one in found]}


def _priced(one: catalog.Model) -> PricedModel:
    return {
        "model_id": one.model_id,
        "display_name": one.display_name,
        "price_version": one.pricing.version,
        "lowest_microcredits": one.pricing.lowest,
        "highest_microcredits": one.pricing.highest,
        "pricing": one.file["pricing"],
        "declares_output_seconds": one.output_seconds is not None,
        "hidden_from_clients": list(one.hidden_from),
        "warnings": [f"{warning.pointer or '/'}: {warning.reason}" for warning in one.warnings],
    }
