"""What a caller is told of limits: with an API key everything, with a client token its own and no more."""

from datetime import UTC
from typing import Any, Final

import pytest

from app.auth.client_tokens import ClientToken
from app.auth.principal import Principal
from app.documents.amounts.limits import rate_headers, visible_to
from app.documents.amounts.quota import queue, quota
from app.documents.problems import problem
from app.errors import GATEWAY_QUEUE_FULL, QUEUE_FULL, Problem
from app.generations.queue.rows import TenantQueue
from app.quotas.amounts import Amounts
from app.quotas.limits import Limit, Payer, Scope
from app.quotas.metrics import Metric
from app.quotas.periods import periods_at
from app.quotas.problem import QuotaProblem, refused
from app.quotas.standing import Account, Standing, Usage

NOW_MS: Final = 1_795_521_599_500
TOKEN: Final = ClientToken(
    token_id="T",
    tenant_id="t",
    kid="k",
    mode="test",
    digest="",
    pepper_id="",
    created_at_ms=0,
    expires_at_ms=NOW_MS,
    revoked_at_ms=None,
    models=None,
    bounds=None,
    origins=None,
    max_generations=None,
    max_microcredits=None,
    end_user="u",
    visibility="token",
    request_id=None,
    last_used_at_ms=None,
    refusals=0,
    key_expires_at_ms=None,
    key_revoked_at_ms=None,
    tenant_disabled_at_ms=None,
)
SCOPES: Final = {
    "tenant": Scope(),
    "key": Scope("k"),
    "end-user": Scope(end_user="u"),
    "token": Scope(token_id="T"),
}
OWN: Final = ["end-user", "token"]


def caller(token: ClientToken | None) -> Principal:
    return Principal(
        tenant_id="t",
        tenant_name="Tenant",
        kid="k",
        root_kid="k",
        mode="test",
        scopes=frozenset(),
        models=None,
        media_checks=None,
        origins=frozenset(),
        token=token,
    )


KEY: Final = caller(None)
PAGE: Final = caller(TOKEN)
NOT_TOLD: Final = pytest.mark.parametrize("principal", [PAGE, None], ids=["page", "nobody known"])


def account(*holders: str, amount: int = 7) -> Account:
    limits = tuple(Limit(SCOPES[one], Metric.GENERATIONS_TOTAL, amount) for one in holders)
    usage = {
        (scope, "total"): Usage(spent=Amounts(generations=3, microcredits=0, output_seconds=0))
        for scope in SCOPES.values()
    }
    periods = periods_at(NOW_MS, UTC)
    return Account(Payer("k", "u", "T"), "a/b", NOW_MS, "UTC", periods, limits, usage)


def refusal(*holders: str) -> QuotaProblem:
    found = refused(
        account(*holders, amount=3).standings(Amounts(generations=1, microcredits=1, output_seconds=0))
    )
    assert found is not None
    return found


def holders(standings: list[Standing]) -> list[str]:
    return [one.limit.scope.holder for one in standings]


def told(one: Problem, principal: Principal | None) -> dict[str, Any]:
    return dict(problem(one, principal, base_url="http://gateway.test", instance="/"))


def test_a_key_is_told_of_every_limit() -> None:
    standings = account(*SCOPES).standings()
    assert list(visible_to(KEY, standings)) == standings
    headers = rate_headers(KEY, standings)
    assert all(f'"{one}-generations-total"' in headers["RateLimit"] for one in SCOPES)


@NOT_TOLD
def test_nobody_else_is_told_of_a_limit_of_the_tenant_or_its_keys(principal: Principal | None) -> None:
    standings = account(*SCOPES).standings()
    assert holders(list(visible_to(principal, standings))) == OWN
    for text in rate_headers(principal, standings).values():
        assert "end-user-" in text
        assert "token-" in text
        assert "tenant-" not in text
        assert "key-" not in text
    assert rate_headers(principal, account("tenant", "key").standings()) == {}


def test_a_refusal_tells_a_key_the_amounts_of_all_that_refuse() -> None:
    document = told(refusal(*SCOPES), KEY)
    assert [one["holder"] for one in document["limits"]] == list(SCOPES)
    assert document["detail"].startswith("Your tenant may spend 3 generations in all")


@NOT_TOLD
def test_a_refusal_by_the_tenants_limit_tells_nobody_else_an_amount(principal: Principal | None) -> None:
    document = told(refusal("tenant", "token"), principal)
    assert document["violated-policies"] == ["tenant-generations-total", "token-generations-total"]
    assert [one["holder"] for one in document["limits"]] == ["token"]
    assert document["detail"].startswith("The limit `tenant-generations-total` of this application")
    assert "3" not in document["detail"]


@NOT_TOLD
def test_a_refusal_by_the_callers_own_limit_is_told_in_full(principal: Principal | None) -> None:
    document = told(refusal("token"), principal)
    assert document["detail"].startswith("This client token may spend 3 generations in all")
    assert [(one["holder"], one["wanted"]) for one in document["limits"]] == [("token", 1)]


@pytest.mark.parametrize("fault", [QUEUE_FULL, GATEWAY_QUEUE_FULL])
def test_how_many_requests_wait_is_told_to_keys_alone(fault: Any) -> None:
    full = Problem(fault, "5 requests wait.")
    assert told(full, KEY)["detail"] == "5 requests wait."
    assert told(full, PAGE)["detail"] == told(full, None)["detail"] == "Too many requests are queued already."
    waiting = TenantQueue(queued=5, max_queued=9, weight=2, paused=True)
    assert queue(waiting, PAGE, queueable=True) == {"queueable": True, "paused": True}
    assert queue(waiting, KEY, queueable=True) == {
        "queueable": True,
        "queued": 5,
        "max_queued": 9,
        "weight": 2,
        "paused": True,
    }


def test_usage_of_the_tenant_and_its_keys_is_shown_to_keys_alone() -> None:
    waiting = TenantQueue(queued=0, max_queued=9, weight=1, paused=False)
    of_key, of_page = (quota(one, account(*SCOPES), None, waiting, queueable=False) for one in (KEY, PAGE))
    assert {one["holder"] for one in of_key["usage"]} == set(SCOPES)
    assert {one["holder"] for one in of_page["usage"]} == set(OWN)
    assert [one["holder"] for one in of_page["limits"]] == OWN
