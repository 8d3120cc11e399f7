"""Crossed thresholds, as operators read them."""

from typing import Annotated, TypedDict

from app.auth.keys import Mode
from app.documents.generations.events import Threshold, threshold
from app.documents.schema import keywords
from app.generations.events import ThresholdEvent
from app.quotas.account import Owner


class CrossedThreshold(Threshold):
    """A threshold of a tenant's budget or balance that a submit crossed."""

    tenant: Annotated[str, keywords("The tenant's name.")]
    mode: Mode


class CrossedThresholdPage(TypedDict):
    """A page of crossed thresholds, the newest first."""

    thresholds: list[CrossedThreshold]
    next_cursor: str | None


def crossed_threshold(tenant: str, owner: Owner, one: ThresholdEvent) -> CrossedThreshold:
    """Returns a crossed threshold with whose it is."""
    return {**threshold(one), "tenant": tenant, "mode": "live" if owner.mode == "live" else "test"}
