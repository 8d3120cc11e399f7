"""Whatever an operator types, or a client of an admin API sends, is done or refused: it never breaks."""

from collections.abc import Awaitable, Callable

import pytest

from app.admin.access import client_tokens, keys, tenants
from app.admin.accounts import AccountName
from app.admin.actor import Actor
from app.admin.amounts import ledger, limits
from app.admin.running import dispatch, requests
from app.db.engines.engine import Database
from app.errors import (
    INVALID_ACCOUNT,
    INVALID_API_KEY_TERMS,
    INVALID_LEDGER_ENTRY,
    INVALID_LIMIT,
    INVALID_REASON,
    INVALID_TENANT,
    Problem,
)
from tests.admin.desk import Desk, open_desk

pytestmark = pytest.mark.anyio

ACTOR = Actor("command", "olga")
CENTURY_MS = 36_500 * 86_400_000
TEXTS = (
    *("", " ", "-1", "9" * 40, "x" * 100_000, "a\nb", "a\0b", "a\x1b[31mb", "\u202eabc"),
    *("\udcff", "日本語" * 60, "💥", "'; DROP TABLE tenants; --", "%", "../..", "*"),
)
Call = Callable[[Desk, str], Awaitable[object]]


@pytest.fixture
async def desk(db: Database) -> Desk:
    return await open_desk(db)


# Each takes the text in one place where an operator can give one.
READS: dict[str, Call] = {
    "the tenant of keys": lambda at, text: keys.listed(at.gateway, tenant=text),
    "the tenant of tokens": lambda at, text: client_tokens.listed(at.gateway, text, limit=5),
    "the end user of tokens": lambda at, text: client_tokens.listed(
        at.gateway, at.tenant, end_user=text, limit=5
    ),
    "the id of a token": lambda at, text: client_tokens.show(at.gateway, text),
    "the tenant of limits": lambda at, text: limits.listed(at.gateway, tenant=text),
    "the tenant of entries": lambda at, text: ledger.listed(at.gateway, tenant=text, limit=5),
    "the request of entries": lambda at, text: ledger.listed(at.gateway, request_id=text, limit=5),
    "the tenant of requests": lambda at, text: requests.listed(
        at.gateway, requests.RequestFilter(tenant=text), limit=5
    ),
    "the id of a request": lambda at, text: requests.show(at.gateway, text),
}
WRITES: dict[str, Call] = {
    "a new tenant": lambda at, text: tenants.create(at.gateway, ACTOR, text),
    "a new tenant's zone": lambda at, text: tenants.create(at.gateway, ACTOR, "new", time_zone=text),
    "a tenant": lambda at, text: tenants.set_time_zone(at.gateway, ACTOR, text, "UTC"),
    "a zone": lambda at, text: tenants.set_time_zone(at.gateway, ACTOR, at.tenant, text),
    "media checks": lambda at, text: tenants.set_media_checks(
        at.gateway,
        ACTOR,
        at.tenant,
        text,  # type: ignore[arg-type]
    ),
    "an origin": lambda at, text: tenants.set_origins(at.gateway, ACTOR, at.tenant, [text]),
    "a tenant to disable": lambda at, text: tenants.disable(at.gateway, ACTOR, text),
    "a tenant to pause": lambda at, text: dispatch.pause(at.gateway, ACTOR, tenant=text),
    "a key's tenant": lambda at, text: keys.create(at.gateway, ACTOR, text, mode="test"),
    "a key's mode": lambda at, text: keys.create(
        at.gateway,
        ACTOR,
        at.tenant,
        mode=text,  # type: ignore[arg-type]
    ),
    "a key's name": lambda at, text: keys.create(at.gateway, ACTOR, at.tenant, mode="test", name=text),
    "a key's scope": lambda at, text: keys.create(at.gateway, ACTOR, at.tenant, mode="test", scopes=[text]),
    "a key's model": lambda at, text: keys.create(at.gateway, ACTOR, at.tenant, mode="test", models=[text]),
    "a kid to rotate": lambda at, text: keys.rotate(at.gateway, ACTOR, text, overlap_ms=1),
    "a kid to revoke": lambda at, text: keys.revoke(at.gateway, ACTOR, text),
    "a kid to queue": lambda at, text: keys.set_queueing(at.gateway, ACTOR, text, queueing=True),
    "a token to revoke": lambda at, text: client_tokens.revoke(at.gateway, ACTOR, text),
    "a limit": lambda at, text: limits.set_limits(at.gateway, ACTOR, at.of, [text]),
    "a limit's amount": lambda at, text: limits.set_limits(at.gateway, ACTOR, at.of, [f"credits-day={text}"]),
    "a limit's burst": lambda at, text: limits.set_limits(
        at.gateway, ACTOR, at.of, [f"submits-minute=5/{text}"]
    ),
    "a limit's tenant": lambda at, text: limits.set_limits(
        at.gateway, ACTOR, AccountName(tenant=text), ["in-flight=1"]
    ),
    "a limit's key": lambda at, text: limits.set_limits(
        at.gateway, ACTOR, AccountName(tenant=at.tenant, kid=text), ["in-flight=1"]
    ),
    "a limit's end user": lambda at, text: limits.set_limits(
        at.gateway, ACTOR, AccountName(tenant=at.tenant, end_user=text), ["in-flight=1"]
    ),
    "a limit's model": lambda at, text: limits.set_limits(
        at.gateway, ACTOR, AccountName(tenant=at.tenant, model_id=text), ["in-flight=1"]
    ),
    "a metric": lambda at, text: limits.unset_limits(at.gateway, ACTOR, at.of, [text]),
    "an amount to add": lambda at, text: ledger.top_up(at.gateway, ACTOR, at.of, text),
    "a note": lambda at, text: ledger.top_up(at.gateway, ACTOR, at.of, "1", note=text),
    "a reference": lambda at, text: ledger.top_up(at.gateway, ACTOR, at.of, "1", reference=text),
    "an amount to correct": lambda at, text: ledger.adjust(at.gateway, ACTOR, at.of, text, note="why"),
    "a balance's model": lambda at, text: ledger.adjust(
        at.gateway, ACTOR, AccountName(tenant=at.tenant, model_id=text), "1", note="why"
    ),
    "a request": lambda at, text: requests.resolve(at.gateway, ACTOR, text, charged=True),
    "a reason": lambda at, text: tenants.enable(at.gateway, ACTOR, at.tenant, reason=text),
}


async def test_any_text_is_taken_or_refused_and_only_what_is_taken_leaves_a_row(desk: Desk) -> None:
    for name, call in {**READS, **WRITES}.items():
        for text in TEXTS:
            before = await desk.audited()
            problem = await _refusal(call(desk, text))
            taken = name in WRITES and problem is None
            assert await desk.audited() == before + taken, (name, text[:20])
            if problem is not None:
                said = [problem.detail, *(one.detail for one in problem.errors)]
                assert 400 <= problem.fault.status < 500, (name, text[:20], problem)
                assert all(one.isprintable() and len(one) < 500 for one in said), (name, text[:20], said)


async def _refusal(call: Awaitable[object]) -> Problem | None:
    try:
        await call
    except Problem as problem:
        return problem
    return None


async def test_an_empty_model_is_not_the_whole_account(desk: Desk) -> None:
    """As a script gives it whose variable is not set: `--model "$MODEL"`."""
    empty = AccountName(tenant=desk.tenant, model_id="", test=True)
    with pytest.raises(Problem) as refused:
        await ledger.adjust(desk.gateway, ACTOR, empty, "-5", note="one model alone")
    assert refused.value.fault is INVALID_ACCOUNT


@pytest.mark.parametrize("ms", [-1, -(10**18), CENTURY_MS + 1, 2**63, 2**70])
async def test_a_key_lives_for_a_century_at_most_and_not_backwards(desk: Desk, ms: int) -> None:
    for call in (
        keys.create(desk.gateway, ACTOR, desk.tenant, mode="test", lifetime_ms=ms),
        keys.rotate(desk.gateway, ACTOR, desk.kid, overlap_ms=ms),
    ):
        with pytest.raises(Problem) as refused:
            await call
        assert refused.value.fault is INVALID_API_KEY_TERMS
    assert await desk.audited() == 0


async def test_no_text_that_is_kept_may_show_a_key(desk: Desk) -> None:
    made = await keys.create(desk.gateway, ACTOR, desk.tenant, mode="test")
    before = await desk.audited()
    of, gateway, text = desk.of, desk.gateway, f"for {made.key}"
    for fault, call in (
        (INVALID_REASON, tenants.enable(gateway, ACTOR, desk.tenant, reason=text)),
        (INVALID_LEDGER_ENTRY, ledger.top_up(gateway, ACTOR, of, "1", note=text)),
        (INVALID_LEDGER_ENTRY, ledger.top_up(gateway, ACTOR, of, "1", reference=text)),
        (INVALID_API_KEY_TERMS, keys.create(gateway, ACTOR, desk.tenant, mode="test", name=text)),
    ):
        with pytest.raises(Problem) as refused:
            await call
        assert refused.value.fault is fault
        assert [one.code for one in refused.value.errors] == ["secret"]
        assert made.key not in str(refused.value)
    assert await desk.audited() == before
    kid = f"https://tickets.example/4711?of={made.record.kid}"
    await tenants.enable(gateway, ACTOR, desk.tenant, reason=kid)  # which is no secret


async def test_a_key_that_is_given_for_its_kid_is_not_repeated(desk: Desk) -> None:
    made = await keys.create(desk.gateway, ACTOR, desk.tenant, mode="test")
    key, token = made.key, made.key.replace("rg_test_", "rg_client_")
    for call in (
        keys.revoke(desk.gateway, ACTOR, key),
        client_tokens.show(desk.gateway, token),
        limits.set_limits(desk.gateway, ACTOR, AccountName(tenant=desk.tenant, kid=key), ["in-flight=1"]),
    ):
        with pytest.raises(Problem) as refused:
            await call
        assert made.record.kid in refused.value.detail
        assert key.split("_")[3] not in refused.value.detail


async def test_every_violation_is_named_where_it_stands(desk: Desk) -> None:
    cases = {
        INVALID_LIMIT: (
            limits.set_limits(desk.gateway, ACTOR, desk.of, ["nonsense", "in-flight=1", "in-flight=2"]),
            ["#/limits/0", "#/limits/2"],
        ),
        INVALID_TENANT: (
            tenants.create(desk.gateway, ACTOR, "no/name", time_zone="Mars/Olympus"),
            ["#/name", "#/time_zone"],
        ),
        INVALID_LEDGER_ENTRY: (
            ledger.adjust(desk.gateway, ACTOR, desk.of, "much", note="a\nb", reference=""),
            ["#/amount", "#/note", "#/reference"],
        ),
        INVALID_ACCOUNT: (
            limits.set_limits(
                desk.gateway,
                ACTOR,
                AccountName(tenant=desk.tenant, kid=desk.kid, end_user="?", model_id="?"),
                ["in-flight=1"],
            ),
            ["#/end_user", "#/end_user", "#/model_id"],
        ),
    }
    for fault, (call, pointers) in cases.items():
        with pytest.raises(Problem) as refused:
            await call
        assert refused.value.fault is fault
        assert [one.pointer for one in refused.value.errors] == pointers
    with pytest.raises(Problem) as refused:
        await limits.unset_limits(desk.gateway, ACTOR, desk.of, ["nonsense", "in-flight", "in-flight"])
    assert [one.pointer for one in refused.value.errors] == ["#/metrics/0", "#/metrics/2"]
