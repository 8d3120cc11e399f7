"""The TypeScript library's core (/client.js) in Node.js, behind a network that fails as it is told."""

import json
import random
import shutil
import subprocess
import uuid
from pathlib import Path
from typing import Any, Final

import pytest

from tests.clients.conftest import Stack
from tests.clients.histories import one_job_one_charge

DRIVER = Path(__file__).with_name("drive.mjs")
CLIENT = Path(__file__).parents[2] / "app/console/static/client.js"
QUICK: Final = ("refuse", "cut-sent", "cut-after", "cut-half", "reset", "bad-gateway", "drip", "stale")
SLOW: Final = ("drop", "restart")
"""What takes time that nobody can shorten: a client's patience with silence, and the gateway's own start."""


@pytest.fixture
def node() -> str:
    found = shutil.which("node")
    if found is None:
        pytest.skip("no node here: install Node.js")
    return found


def _history(plan: list[str], only: str) -> dict[str, Any]:
    return {"plan": plan, "only": only, "mark": uuid.uuid4().hex}


def _drive(node: str, stack: Stack, histories: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the client tells of each history."""
    for one in histories:
        one["input"] = stack.input(one["mark"])
        one["pace"] = 8 if set(SLOW) & set(one["plan"]) else 100
    command: list[str | Path] = [node, DRIVER, stack.url, stack.key, CLIENT.as_uri(), json.dumps(histories)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def _one_of_each(stack: Stack, told: dict[str, Any], mark: str) -> None:
    """One job, one charge, one result, and every change once."""
    assert "error" not in told, told
    assert told["versions"] == sorted(told["versions"]), told
    [request_id] = told["ids"]
    assert (told["result"]["request_id"], told["result"]["status"]) == (request_id, "succeeded")
    assert told["result"]["output"]["video"]
    one_job_one_charge(stack, mark, request_id)


def _judge(stack: Stack, node: str, histories: list[dict[str, Any]]) -> None:
    for one, told in zip(histories, _drive(node, stack, histories), strict=True):
        _one_of_each(stack, told, one["mark"])


def test_whatever_a_network_does_to_it_a_run_is_one_job_one_charge_and_one_result(
    stack: Stack, node: str
) -> None:
    submits = _history(["cut-after", "bad-gateway", "cut-half", "refuse", "drip"], "^POST ")
    all_calls = _history(["cut-sent", "drip", "cut-half", "reset", "stale", "bad-gateway"], "")
    restarted = _history(["restart", "pass", "restart"], "")
    _judge(stack, node, [submits, all_calls, restarted])


def test_a_hundred_networks_that_fail_at_random_make_one_job_of_a_run_each(stack: Stack, node: str) -> None:
    histories = []
    for seed in range(100):
        drawn = random.Random(seed)  # noqa: S311 - a history to repeat
        faults = [drawn.choice(QUICK) for _ in range(drawn.randint(1, 5))]
        if drawn.random() < 0.06:
            faults[drawn.randrange(len(faults))] = drawn.choice(SLOW)
        histories.append(_history(faults, drawn.choice(["", "^POST ", "^GET "])))
    _judge(stack, node, histories)
