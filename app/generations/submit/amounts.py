"""What a request takes of every limit, as its model's file says."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from app.quotas.amounts import Amounts
from app.quotas.limits import Limit
from app.quotas.metrics import Unit

if TYPE_CHECKING:  # the catalogue brings its compiler, which short commands do without
    from app.catalog.model import Model


def amounts_of(model: "Model", body: Mapping[str, Any]) -> Amounts:
    """Returns what a valid body takes of every limit.

    Raises:
        NoPriceError: the body violates the model's schema in an input that is priced.

    """
    return Amounts(generations=1, microcredits=model.price(body), output_seconds=model.seconds(body) or 0)


def undeclared_by(model: "Model") -> frozenset[Unit]:
    """Returns the units of which a model's file does not say how much a request orders."""
    return frozenset() if model.output_seconds is not None else frozenset({Unit.OUTPUT_SECONDS})


def refused_for_no_declaration(models: "Iterable[Model]", limits: Iterable[Limit]) -> list[str]:
    """Returns the ids of the models that a limit refuses: their files declare nothing of its unit."""
    return [
        model.model_id
        for model in models
        if any(
            limit.amount is not None
            and limit.metric.unit in undeclared_by(model)
            and limit.scope.model_id in {"", model.model_id}
            for limit in limits
        )
    ]
