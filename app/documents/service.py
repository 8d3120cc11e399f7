"""The answers of health probes, and what only the gateway's own pages are given."""

from collections.abc import Sequence
from typing import Literal, TypedDict


class Health(TypedDict):
    """Whether the process runs, or can serve requests."""

    status: str


def health(status: Literal["ok", "ready"]) -> Health:
    """Returns the answer to a probe that succeeds."""
    return {"status": status}


class Sample(TypedDict):
    """A picture of the sandbox, to try a model with. It is not in the contract."""

    name: str
    url: str


class Samples(TypedDict):
    """The pictures that the playground offers. They are not in the contract."""

    samples: list[Sample]


def samples(found: Sequence[Sample]) -> Samples:
    """Returns the pictures that the playground offers."""
    return {"samples": list(found)}
