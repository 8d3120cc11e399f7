"""The relay that client libraries are tried behind fails as it is told."""

import httpx2
import pytest

from tests.clients.conftest import Stack
from tests.harness import SUBMIT
from tests.patience import PATIENCE_S


def _call(stack: Stack, mark: str, **more: str) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {stack.key}", **more}
    return httpx2.post(
        stack.url + SUBMIT, json=stack.input(mark), headers=headers, trust_env=False, timeout=PATIENCE_S
    )


def test_a_fault_loses_the_answer_and_not_the_job(stack: Stack, mark: str) -> None:
    key = {"Idempotency-Key": mark}
    stack.relay.fail(
        "refuse", "cut-after", "cut-half", "reset", "bad-gateway", "restart", "drip", only="^POST "
    )
    with pytest.raises(httpx2.HTTPError):
        _call(stack, mark, **key)
    assert stack.received(mark) == 0
    for _ in range(3):
        with pytest.raises(httpx2.HTTPError):
            _call(stack, mark, **key)
        assert stack.received(mark) == 1
    assert _call(stack, mark, **key).status_code == 502
    with pytest.raises(httpx2.HTTPError):
        _call(stack, mark, **key)
    answer = _call(stack, mark, **key)
    assert (answer.status_code, answer.headers["Idempotent-Replayed"]) == (200, "true")
    assert stack.received(mark) == 1


def test_a_program_sets_the_plan_over_http(stack: Stack, mark: str) -> None:
    control = f"{stack.url}/-relay"
    set_to = {"plan": ["bad-gateway"], "only": "^POST "}
    assert httpx2.put(control, json=set_to, trust_env=False).status_code == 200
    assert httpx2.get(f"{stack.url}/livez", trust_env=False).status_code == 200
    assert _call(stack, mark).status_code == 502
    met = httpx2.get(control, trust_env=False).json()["met"]
    assert met == [["GET /livez", "pass"], [f"POST {SUBMIT}", "bad-gateway"]]
    assert httpx2.put(control, json={"plan": ["typo"]}, trust_env=False).status_code == 400
