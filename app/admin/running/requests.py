"""Requests of all tenants, for the operator: listing and showing them, and resolving unknown ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Protocol, cast

from pydantic import AwareDatetime
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from app.admin import accounts, audit
from app.admin.actor import Actor
from app.admin.audit import Change
from app.admin.paging import MAX_PAGE, Page, PageSize, unknown_cursor
from app.admin.session import AdminGateway
from app.admin.violations import refuse
from app.auth import client_tokens, tenants
from app.auth.callers import forms_of
from app.auth.keys import Mode
from app.errors import (
    INVALID_CHANGE,
    INVALID_PARAMETER,
    NOT_ATTACHABLE,
    NOT_UNKNOWN,
    REQUEST_NOT_FOUND,
    UPSTREAM_UNUSABLE,
    FieldError,
    Problem,
)
from app.generations import archived, store
from app.generations import events as event_rows
from app.generations.advance import advance
from app.generations.events import Event
from app.generations.lifecycle import State
from app.generations.search import Filters, search
from app.generations.store import Generation
from app.kit.ids import is_id
from app.kit.text import quoted
from app.mirror import rows as assets
from app.mirror.rows import Asset
from app.upstream.credentials import Pool
from app.upstream.outcomes import INCONCLUSIVE, Seen, is_safe_id, observe_status


class GatewayWithPool(AdminGateway, Protocol):
    """An `AdminGateway` that can also ask RunComfy."""

    @property
    def pool(self) -> Pool:
        """The credentials, with their clients."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFilter:
    """Which requests to list: all that is given must match.

    `tenant` is a tenant's name. `address` is an address or a network as it was kept of callers. A request
    was created from `created_after` on, and before `created_before`.
    """

    request_id: str | None = None
    upstream_request_id: str | None = None
    tenant: str | None = None
    kid: str | None = None
    token_id: str | None = None
    end_user: str | None = None
    mode: Mode | None = None
    model_id: str | None = None
    state: State | None = None
    error_code: str | None = None
    price_version: str | None = None
    address: str | None = None
    created_after: AwareDatetime | None = None
    created_before: AwareDatetime | None = None


@dataclass(frozen=True, slots=True)
class ListedRequest:
    """A request, and the name of its tenant."""

    request: Generation
    tenant: str


@dataclass(frozen=True, slots=True)
class RequestInFull:
    """A request with its tenant's name, its events, oldest first, and the copies of its output."""

    request: Generation
    tenant: str
    events: Sequence[Event]
    copies: Sequence[Asset]


async def listed(
    gateway: AdminGateway, wanted: RequestFilter, *, limit: PageSize = MAX_PAGE, cursor: str | None = None
) -> Page[ListedRequest]:
    """Returns requests of all tenants, newest first, in pages.

    A page may have fewer requests than asked for, even none, while more follow: a search looks at a bounded
    number of rows. There are no more where there is no next cursor.

    Raises:
        Problem: TENANT_NOT_FOUND. INVALID_PARAMETER: an address or a cursor is none.

    """
    if wanted.address is not None and not forms_of(wanted.address):
        detail = f"{quoted(wanted.address)} is no address: write it like 203.0.113.7, or 203.0.113.0/24."
        refuse(INVALID_PARAMETER, [FieldError("#/query/address", "pattern", detail)])
    if cursor is not None and not is_id(cursor):
        raise unknown_cursor()
    tenant_id = await accounts.tenant_id_of(gateway, wanted.tenant)
    mode = wanted.mode
    if wanted.token_id is not None and tenant_id is None:
        # Tokens are found by their tenant; one without a record made no request.
        token = await gateway.db.read(client_tokens.find, wanted.token_id)
        if token is None or mode not in {None, token[0].mode}:
            return Page((), None)
        tenant_id, mode = token[0].tenant_id, token[0].mode
    same = {one.name: getattr(wanted, one.name) for one in fields(wanted) if one.name in Filters.__slots__}
    filters = Filters(
        **same | {"mode": mode},
        tenant_id=tenant_id,
        from_ms=_ms(wanted.created_after),
        before_ms=_ms(wanted.created_before),
    )
    found = await gateway.db.read(search, filters, before=cursor, limit=limit)
    names = await accounts.tenant_names(gateway)
    return Page([ListedRequest(one, names[one.tenant_id]) for one in found.rows], found.before)


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp() * 1000)


async def show(gateway: AdminGateway, request_id: str) -> RequestInFull:
    """Returns everything that is stored about a request.

    Raises:
        Problem: REQUEST_NOT_FOUND, REQUEST_ARCHIVED.

    """
    found = await _find(gateway, request_id)
    names = await accounts.tenant_names(gateway)
    events = await gateway.db.read(event_rows.of_generation, request_id)
    copies = [] if found.mirror is None else await gateway.db.read(assets.of_generation, request_id)
    return RequestInFull(found, names[found.tenant_id], events, copies)


async def resolve(
    gateway: AdminGateway,
    actor: Actor,
    request_id: str,
    *,
    upstream_request_id: str | None = None,
    charged: bool | None = None,
    reason: str | None = None,
) -> ListedRequest:
    """Resolves an unknown request: by the job that was found for it, or by whether RunComfy charged for it.

    With `upstream_request_id` it is followed again; RunComfy is asked first whether it knows the job. With
    `charged` it ends as `lost`, and its hold is settled (true) or refunded (false). To ask RunComfy, the
    gateway must be a `GatewayWithPool`.

    Raises:
        Problem: REQUEST_NOT_FOUND, NOT_UNKNOWN, INVALID_REASON. INVALID_CHANGE: not exactly one of the two is
            given. NOT_ATTACHABLE: RunComfy does not know the job, or it belongs to another request.
            UPSTREAM_UNUSABLE: RunComfy could not be asked.

    """
    if (upstream_request_id is None) == (charged is None):
        detail = "give either RunComfy's id of the job, or whether RunComfy charged for it."
        pointer = "#/charged" if charged is not None else "#/upstream_request_id"
        refuse(INVALID_CHANGE, [FieldError(pointer, "conflict", detail)])
    if upstream_request_id is not None and not is_safe_id(upstream_request_id):
        raise Problem(NOT_ATTACHABLE, f"{quoted(upstream_request_id)} is not an id of RunComfy's.")
    unknown = await _find(gateway, request_id)
    if unknown.state is not State.UNKNOWN:
        raise Problem(NOT_UNKNOWN, f"request {request_id} is {unknown.state}, not unknown.")
    if upstream_request_id is None:
        return await audit.write(gateway, actor, reason, _close, gateway, request_id, charged=charged is True)
    pool = cast("GatewayWithPool", gateway).pool
    await _check_that_runcomfy_knows(pool, unknown.credential, upstream_request_id)
    try:
        return await audit.write(gateway, actor, reason, _attach, gateway, request_id, upstream_request_id)
    except IntegrityError as error:
        raise Problem(NOT_ATTACHABLE, f"{upstream_request_id!r} belongs to another request.") from error


async def _check_that_runcomfy_knows(pool: Pool, name: str, upstream_request_id: str) -> None:
    credential = pool.of(name)
    if credential is None:
        raise Problem(NOT_ATTACHABLE, f"its credential, {name!r}, is not configured any more.")
    observation = observe_status(await credential.upstream.status(upstream_request_id))
    if observation.seen is Seen.GONE:
        raise Problem(NOT_ATTACHABLE, f"RunComfy does not know {upstream_request_id!r}.")
    if observation.seen in INCONCLUSIVE:
        raise Problem(UPSTREAM_UNUSABLE, f"RunComfy gave no usable answer ({observation.seen}); try again.")


def _attach(
    connection: Connection, gateway: AdminGateway, request_id: str, upstream_request_id: str
) -> tuple[ListedRequest, Change]:
    changes = {"reason": "resolved_attached", "upstream_request_id": upstream_request_id}
    return _resolve(connection, gateway, request_id, action="attach", to=State.IN_QUEUE, changes=changes)


def _close(
    connection: Connection,
    gateway: AdminGateway,
    request_id: str,
    *,
    charged: bool,
) -> tuple[ListedRequest, Change]:
    words = "charged" if charged else "did not charge"
    changes = {
        "reason": "resolved_charged" if charged else "resolved_not_charged",
        "spent": charged,
        "error": {"code": "lost", "message": f"The outcome stayed unknown; RunComfy {words} for it."},
    }
    return _resolve(connection, gateway, request_id, action="close", to=State.LOST, changes=changes)


def _resolve(
    connection: Connection,
    gateway: AdminGateway,
    request_id: str,
    *,
    action: str,
    to: State,
    changes: Mapping[str, Any],
) -> tuple[ListedRequest, Change]:
    before = store.find(connection, request_id, None)
    now_ms = gateway.clock.now_ms()
    changed = advance(connection, request_id, to, only_from={State.UNKNOWN}, now_ms=now_ms, **changes)
    if before is None or changed is None:
        raise Problem(NOT_UNKNOWN, "somebody else resolved it just now.")
    tenant = tenants.by_id(connection, changed.tenant_id).name
    return ListedRequest(changed, tenant), Change(
        action=f"request.{action}",
        subject_kind="request",
        subject_id=request_id,
        tenant_id=changed.tenant_id,
        before=_fields_of(State.UNKNOWN, before.upstream_request_id, before.charge),
        after=_fields_of(changed.state, changed.upstream_request_id, changed.charge),
    )


def _fields_of(state: State, upstream_request_id: str | None, charge: str | None) -> dict[str, Any]:
    return {"state": state, "upstream_request_id": upstream_request_id, "charge": charge}


async def _find(gateway: AdminGateway, request_id: str) -> Generation:
    found = await gateway.db.read(store.find, request_id, None)
    if found is None and is_id(request_id):
        gone = await gateway.db.read(archived.find, request_id)
        if gone is not None:
            raise gone.problem()
    if found is None:
        raise Problem(REQUEST_NOT_FOUND, f"there is no request {quoted(request_id)}.")
    return found
