"""Random histories of a bad network, and what must be true after each of them."""

import random
from dataclasses import dataclass

from reelgate_client import Retries

from tests.clients.conftest import Stack

BRISK = Retries(tries=12, first_delay_s=0.01, max_delay_s=0.05)
_LOSSES = ("refuse", "cut-sent", "cut-after", "cut-half", "reset", "bad-gateway", "stale", "drip", "pass")


@dataclass(frozen=True)
class History:
    """Which calls of one run meet which faults, in order."""

    plan: tuple[str, ...]

    @classmethod
    def drawn(cls, seed: int) -> "History":
        """Every tenth restarts the server once."""
        dice = random.Random(seed)  # noqa: S311 - a history to repeat
        plan = [dice.choice(_LOSSES) for _ in range(dice.randrange(1, 7))]
        if seed % 10 == 0:
            plan.insert(dice.randrange(len(plan) + 1), "restart")
        return cls(tuple(plan))


def one_job_one_charge(stack: Stack, mark: str, request_id: str) -> None:
    """Of everything with the mark there is one job at RunComfy, and one request, which is paid for once."""
    with stack.own_client() as client:
        assert stack.received(mark) == 1
        (found,) = [
            one
            for one in client.get("/v1/requests?limit=100").json()["requests"]
            if one["request_id"] == request_id
        ]
        assert (found["state"], found["charge"]) == ("completed", "settled")
        entries = client.get(f"/v1/ledger?request_id={request_id}").json()["entries"]
        assert sorted(one["kind"] for one in entries) == ["hold", "settle"]
        record = client.get(f"/v1/requests/{request_id}").json()
        assert mark in record["input"]["prompt"]
