"""After a restore: the jobs that were made since the backup, from the log's lines and the spool.

A restored database does not know them, though RunComfy runs them and they are to be paid. Each line of the
log about an answered submit has RunComfy's id of the job and the terms of its request, so the request can be
made again under its id, without its input, with its price held anew and its Idempotency-Key in place: it is
followed to its end, and a caller who repeats the submit gets it.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, select
from sqlalchemy.exc import IntegrityError

from app.admin import audit
from app.admin.actor import Actor
from app.admin.audit import Change
from app.admin.session import AdminGateway
from app.auth import client_tokens
from app.db.schema.tables import api_keys
from app.generations import archived, store
from app.generations.advance import advance, begin
from app.generations.lifecycle import State
from app.generations.queue import decide
from app.generations.queue.decide import SubmitPolicy
from app.generations.store import Generation, SubmitIntent
from app.kit.ids import is_id
from app.quotas import account
from app.quotas.account import Owner
from app.quotas.amounts import Amounts
from app.quotas.limits import Payer
from app.upstream.outcomes import is_safe_id

_REASON: Final = "recovered"


class Fate(StrEnum):
    """What became of a job that a line names."""

    KNOWN = "known"
    ATTACHED = "attached"
    MADE_AGAIN = "made-again"
    LEFT = "left"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job that was made. `terms` are what its request is made again of; None: the line does not say."""

    generation_id: str
    upstream_request_id: str
    model_id: str | None = None
    mode: str | None = None
    trace_id: str = ""
    terms: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Recovered:
    """What became of a job, and for one that was left: why."""

    job: Job
    fate: Fate
    why: str = ""


class _LeftError(Exception):
    """A job cannot be recovered; the message says why."""


def jobs_in(lines: Iterable[str]) -> Iterator[Job]:
    """Yields the jobs that lines of a log or a spool name; every other line is passed over."""
    for line in lines:
        if "upstream_request_id" not in line:
            continue
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if not isinstance(found, dict):
            continue
        generation_id, upstream_request_id = found.get("generation"), found.get("upstream_request_id")
        if not isinstance(generation_id, str) or not isinstance(upstream_request_id, str):
            continue
        if is_id(generation_id) and is_safe_id(upstream_request_id):
            terms = found.get("terms")
            yield Job(
                generation_id=generation_id,
                upstream_request_id=upstream_request_id,
                model_id=found.get("model"),
                mode=found.get("mode"),
                trace_id=str(found.get("trace_id") or ""),
                terms=terms if isinstance(terms, dict) and terms.keys() >= {*store.TERMS} else None,
            )


async def recover(
    gateway: AdminGateway,
    actor: Actor,
    jobs: Iterable[Job],
    *,
    dry_run: bool = False,
    reason: str | None = None,
) -> Sequence[Recovered]:
    """Attaches each job to its request, and makes requests again that the database does not have.

    Jobs that the database knows already are left alone, so it may be called again. With `dry_run` it only
    says what it would do.

    Raises:
        Problem: INVALID_REASON, DATABASE_UNAVAILABLE.

    """
    policy = decide.policy_of(gateway.settings)
    return [await _recover(gateway, actor, job, policy, dry_run=dry_run, reason=reason) for job in jobs]


async def _recover(
    gateway: AdminGateway,
    actor: Actor,
    job: Job,
    policy: SubmitPolicy,
    *,
    dry_run: bool,
    reason: str | None,
) -> Recovered:
    row = await gateway.db.read(store.find, job.generation_id, None)
    if row is not None and row.upstream_request_id == job.upstream_request_id:
        return Recovered(job, Fate.KNOWN)
    fate = Fate.MADE_AGAIN if row is None else Fate.ATTACHED
    change = _make_again if row is None else _attach
    try:
        if dry_run:
            await gateway.db.read(_check, job, row)
        else:
            await audit.write(gateway, actor, reason, change, gateway, job, policy)
    except _LeftError as error:
        return Recovered(job, Fate.LEFT, str(error))
    except IntegrityError:
        return Recovered(job, Fate.LEFT, "RunComfy's id or the Idempotency-Key belongs to another request")
    return Recovered(job, fate)


def _check(connection: Connection, job: Job, row: Generation | None) -> None:
    """Checks that a job can be recovered.

    Raises:
        _LeftError: it cannot.

    """
    if row is not None:
        if row.upstream_request_id is not None:
            raise _LeftError(f"its request has another id of RunComfy's, {row.upstream_request_id}")
        if row.state not in {State.ACCEPTED, State.DISPATCHING, State.UNKNOWN}:
            raise _LeftError(f"its request has ended as {row.state}")
        return
    gone = archived.find(connection, job.generation_id)
    if gone is not None:
        raise _LeftError(f"its request had ended, and was archived in {gone.file}")
    if job.terms is None or job.model_id is None or job.mode is None:
        raise _LeftError("there is no such request, and the line does not say what it was")
    key = select(api_keys.c.tenant_id).where(api_keys.c.kid == job.terms["kid"], api_keys.c.mode == job.mode)
    if connection.execute(key).scalar_one_or_none() != job.terms["tenant_id"]:
        raise _LeftError(f"its API key, {job.terms['kid']}, was made after the backup")


def _attach(
    connection: Connection, gateway: AdminGateway, job: Job, _policy: SubmitPolicy
) -> tuple[None, Change]:
    row = store.find(connection, job.generation_id, None)
    _check(connection, job, row)
    now_ms = gateway.clock.now_ms()
    if (
        row is not None and row.state is State.ACCEPTED
    ):  # it was queued when the copy was made, and sent later
        advance(
            connection,
            row.id,
            State.DISPATCHING,
            reason=_REASON,
            now_ms=now_ms,
            credential=(job.terms or {}).get("credential") or row.credential,
            sent_at_ms=now_ms,
        )
    return _in_queue(connection, job, before=None if row is None else row.state, now_ms=now_ms)


def _make_again(
    connection: Connection, gateway: AdminGateway, job: Job, policy: SubmitPolicy
) -> tuple[None, Change]:
    _check(connection, job, None)
    now_ms = gateway.clock.now_ms()
    intent = _intent(connection, job)
    owner = Owner(intent.tenant_id, intent.mode)
    before = decide.account_of(
        connection, owner, intent.payer, intent.model_id, policy, now_ms=now_ms, for_update=True
    )
    after = before.with_one_more(intent.amounts)  # whatever its limits: the job is there
    account.take(connection, owner, before, after, intent.amounts)
    begin(
        connection,
        intent,
        state=State.DISPATCHING,
        credential=str((job.terms or {})["credential"]),
        quota_day=after.periods.day,
        now_ms=now_ms,
        lease_until_ms=now_ms,
    )
    return _in_queue(connection, job, before=None, now_ms=now_ms)


def _intent(connection: Connection, job: Job) -> SubmitIntent:
    terms = job.terms or {}
    token_id = terms["token_id"]
    token = None if token_id is None else client_tokens.find(connection, token_id)
    root_kid = terms["root_kid"] or terms["kid"]
    return SubmitIntent(
        generation_id=job.generation_id,
        tenant_id=terms["tenant_id"],
        kid=terms["kid"],
        # A token that was made after the backup is gone, and with it its end user's view of the request.
        payer=Payer(root_kid, terms["end_user"] or "", token_id) if token else Payer(root_kid),
        mode="live" if job.mode == "live" else "test",
        model_id=job.model_id or "",
        input_json=b"{}",
        amounts=Amounts(
            generations=1,
            microcredits=terms["price_microcredits"] or 0,
            output_seconds=terms["output_seconds"],
        ),
        price_version=terms["price_version"] or "",
        settles_in=terms["settles_in"] or State.COMPLETED,
        trace_id=job.trace_id,
        choices=(),
        idempotency_key=terms["idempotency_key"],
        fingerprint=terms["fingerprint"],
        # Kept for the token's callers also where it is gone: they make no second job, and hinder nobody else.
        key_space="" if token_id is None else client_tokens.key_space_of(terms["end_user"], root_kid),
    )


def _in_queue(connection: Connection, job: Job, *, before: State | None, now_ms: int) -> tuple[None, Change]:
    changed = advance(
        connection,
        job.generation_id,
        State.IN_QUEUE,
        reason=_REASON,
        now_ms=now_ms,
        upstream_request_id=job.upstream_request_id,
    )
    if changed is None:
        raise _LeftError("somebody else changed its request just now")
    after = {"state": changed.state, "upstream_request_id": job.upstream_request_id}
    return None, Change(
        action="request.recover",
        subject_kind="request",
        subject_id=job.generation_id,
        tenant_id=changed.tenant_id,
        before=None if before is None else {"state": before, "upstream_request_id": None},
        after=after,
    )
