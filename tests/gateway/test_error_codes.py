"""RunComfy's own clients find RunComfy's number in an error where it means the same, and nowhere else."""

from typing import Any

import pytest

from app.documents.problems import problem
from app.errors import (
    CATALOGUE,
    NO_BALANCE,
    QUOTA_EXHAUSTED,
    UPSTREAM_CREDENTIAL_REFUSED,
    UPSTREAM_REJECTED,
    Problem,
)
from app.quotas.account import Owner, set_limit
from app.quotas.limits import parse_limit
from tests.harness import SUBMIT, World

OF_PAGES = {"session_ended", "invalid_portal_link", "sign_in_ended", "sign_in_refused"}
"""Errors of our own console and portal, which no client of RunComfy meets."""

KNOWN = {400001, NO_BALANCE, 400004, 403001, 404001}


def number(one: Problem) -> Any:
    return problem(one, None, base_url="http://gateway.test", instance="/").get("error_code")


@pytest.mark.parametrize("fault", CATALOGUE, ids=lambda fault: fault.code)
def test_a_fault_of_ours_has_no_number_and_a_callers_has_a_known_one(fault: Any) -> None:
    code = number(Problem(fault, "why"))
    assert code == fault.error_code
    assert code is None or code in KNOWN
    assert (code == 400004) == (
        fault.status == 401 and "admin" not in fault.code and fault.code not in OF_PAGES
    )
    if fault.status >= 500 or fault.status == 429:
        assert code is None


def test_a_refused_input_has_the_number_that_runcomfy_sent_but_never_that_of_our_token() -> None:
    for sent, expected in ((422001, 422001), (None, None), (400004, None)):
        told = {"error_code": sent, "error_message": "no"}
        assert number(Problem(UPSTREAM_REJECTED, "why", extra={"upstream": told})) == expected
    assert number(Problem(UPSTREAM_CREDENTIAL_REFUSED, "why")) is None


@pytest.mark.anyio
async def test_every_number_is_answered_where_a_client_meets_it(world: World) -> None:
    client = world.client
    nobody = {"Authorization": ""}
    missing = "00000000-0000-7000-8000-000000000000"
    reader = world.with_key(await world.another_key(scopes=["read"]))
    for answer, expected in (
        (await client.get("/v1/models/no/such"), 400001),
        (await client.post(f"{SUBMIT}x", json={}), 400001),
        (await client.get("/v1/models", headers=nobody), 400004),
        (await client.post(SUBMIT, json={}, headers={"Authorization": "Bearer rg_test_x"}), 400004),
        (await client.post(SUBMIT, json={}, headers=reader), 403001),
        (await client.get(f"/v1/requests/{missing}/status"), 404001),
        (await client.post(f"/v1/requests/{missing}/cancel"), 404001),
        (await client.get("/problems/model-not-found"), 400001),
        (await client.post(SUBMIT, json={}), None),
        (await client.get("/nowhere"), None),
    ):
        assert answer.json().get("error_code") == expected, answer.text
    refused = await world.submit("unauthorized")
    assert (refused.status_code, refused.json().get("error_code")) == (503, None)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("limit", "expected"), [("credits-total=0", NO_BALANCE), ("generations-total=0", None)]
)
async def test_only_a_lack_of_credits_is_a_lack_of_balance(
    world: World, limit: str, expected: int | None
) -> None:
    owner = Owner(world.tenant_id, "test")
    await world.gateway.db.write(set_limit, owner, parse_limit(limit), now_ms=world.clock.now_ms())
    answer = await world.submit()
    assert (answer.status_code, answer.json()["code"]) == (429, QUOTA_EXHAUSTED.code)
    assert answer.json().get("error_code") == expected
