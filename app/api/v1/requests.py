"""Handlers of requests: their status, result, record and cancellation, and the list of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Query, Request
from starlette.responses import Response

from app.api.bodies import json_response, tag_of, tagged_response, tags_of
from app.api.cursors import decode_cursor, encode_cursor
from app.api.deps import CanAsk, CanSee, Open
from app.api.headers.request import APPLIED, preferences_of, wait_for
from app.api.query import moment_ms
from app.auth.client_tokens import END_USER
from app.auth.principal import Principal
from app.documents.generations import requests as documents
from app.errors import (
    NOT_CANCELLABLE,
    REQUEST_NOT_FOUND,
    RESULT_ERASED,
    Problem,
)
from app.gateway import Gateway
from app.generations import archived, store, visibility
from app.generations import events as event_rows
from app.generations.lifecycle import State
from app.generations.store import Generation
from app.kit.clock import iso
from app.kit.ids import is_id
from app.kit.json import to_column
from app.mirror import rows as asset_rows
from app.mirror.rows import Asset

STALE_HEADER = "Reelgate-Stale"


async def get_status(request: Request, gateway: Open, principal: CanSee, request_id: str) -> Response:
    """A request's status in RunComfy's form. `completed` means finished, not succeeded: see the result."""

    def document(generation: Generation) -> Mapping[str, Any]:
        return documents.status(generation, gateway.base_url)

    return await _answer(request, gateway, principal, await own(gateway, principal, request_id), document)


async def get_result(
    request: Request,
    gateway: Open,
    principal: CanSee,
    request_id: str,
    *,
    include_cost: Annotated[bool, Query()] = False,
) -> Response:
    """A request's result in RunComfy's form. It is a 200 even while the request is not finished."""

    def document(generation: Generation) -> Mapping[str, Any]:
        if generation.erased_at_ms is not None:
            raise Problem(RESULT_ERASED, f"The output was erased at {iso(generation.erased_at_ms)}.")
        return documents.result(generation, include_cost=include_cost)

    return await _answer(request, gateway, principal, await own(gateway, principal, request_id), document)


async def cancel(request: Request, gateway: Open, principal: CanAsk, request_id: str) -> Response:
    """Cancel a request that has not started. `outcome` says whether it was cancelled: 202 in both cases.

    With `Prefer: handling=strict`, a request that is not cancelled is answered with a 409.
    """
    preferences = preferences_of(request, gateway)
    generation = await gateway.following.canceller.cancel(await own(gateway, principal, request_id))
    if preferences.strict and generation.state is not State.CANCELLED:
        raise Problem(
            NOT_CANCELLABLE,
            f"The request is {generation.state}.",
            extra={"request_id": generation.id},
            headers={APPLIED: "handling=strict"},
        )
    headers = {APPLIED: "handling=strict"} if preferences.strict else None
    return json_response(documents.cancelled(generation), status_code=202, headers=headers)


async def get_request(request: Request, gateway: Open, principal: CanSee, request_id: str) -> Response:
    """The full record of a request, with every change of its state."""
    generation = await gateway.following.tracker.refresh(await own(gateway, principal, request_id))
    events = await gateway.db.read(event_rows.of_generation, generation.id)
    copies = await copies_of(gateway, generation)
    document = documents.record(
        generation,
        events,
        gateway.base_url,
        expires_at_ms=gateway.upkeep.retention.expires_at_ms(generation.finished_at_ms),
        assets=copies,
    )
    return tagged_response(request, document, headers=_staleness(generation))


async def _answer(
    request: Request,
    gateway: Gateway,
    principal: Principal,
    generation: Generation,
    document: Callable[[Generation], Mapping[str, Any]],
) -> Response:
    """Answers with a document of a generation; where the caller prefers to wait, once that document changes.

    It has changed where it differs from those that the caller has (`If-None-Match`), or else from what it was
    when the call came.
    """
    preferences = preferences_of(request, gateway)
    generation = await gateway.following.tracker.refresh(generation)
    if preferences.wait_s and not generation.terminal:
        known = tags_of(request) - {"*"} or {tag_of(document(generation))}
        generation = await wait_for(
            request, principal, generation, preferences.wait_s, lambda one: tag_of(document(one)) not in known
        )
    if generation.mirror == "instead":
        generation = with_own_links(gateway, generation, await copies_of(gateway, generation))
    headers = _staleness(generation) | preferences.headers
    return tagged_response(request, document(generation), headers=headers)


async def copies_of(gateway: Gateway, generation: Generation) -> list[Asset]:
    """Returns the copies of a request's output; none where it is not mirrored."""
    if generation.mirror is None:
        return []
    return await gateway.db.read(asset_rows.of_generation, generation.id)


def with_own_links(gateway: Gateway, generation: Generation, copies: Sequence[Asset]) -> Generation:
    """Returns a generation whose output has links to our copies in place of RunComfy's."""
    links = {one.pointer: gateway.asset_link(one) for one in copies if one.is_served}
    output = asset_rows.with_links(generation.output, links)
    return replace(generation, output_text=to_column(output))


async def list_requests(
    gateway: Open,
    principal: CanSee,
    *,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
    state: Annotated[list[State] | None, Query(max_length=len(State))] = None,
    # PostgreSQL accepts no NUL in a text; model ids have no other characters than these.
    model_id: Annotated[str | None, Query(max_length=200, pattern="^[A-Za-z0-9._/-]*$")] = None,
    token_id: Annotated[str | None, Query(pattern="^[A-Za-z0-9]{12}$")] = None,
    end_user: Annotated[str | None, Query(pattern=f"^{END_USER}$")] = None,
    created_after: Annotated[str | None, Query(max_length=40)] = None,
    created_before: Annotated[str | None, Query(max_length=40)] = None,
) -> Response:
    """The tenant's requests in the mode of this key, newest first."""
    seen = {"token_id": token_id, "end_user": end_user} | visibility.visible_to(principal.token)
    found = await gateway.db.read(
        store.page,
        principal.tenant_id,
        limit=limit + 1,
        mode=principal.mode,
        before=None if cursor is None else decode_cursor(cursor, is_id),
        states=None if state is None else frozenset(state),
        model_id=model_id,
        created_from_ms=moment_ms("created_after", created_after),
        created_until_ms=moment_ms("created_before", created_before),
        **seen,
    )
    shown = found[:limit]
    next_cursor = encode_cursor(shown[-1].created_at_ms, shown[-1].id) if len(found) > limit else None
    base_url = gateway.base_url
    headers = {}
    if next_cursor is not None:
        filters = "".join(
            f"&{name}={quote(value)}"
            for name, value in (
                *(("state", one) for one in state or ()),
                ("model_id", model_id),
                ("token_id", token_id),
                ("end_user", end_user),
                ("created_after", created_after),
                ("created_before", created_before),
            )
            if value
        )
        address = f"{base_url}/v1/requests?limit={limit}&cursor={next_cursor}{filters}"
        headers["Link"] = f'<{address}>; rel="next"'
    return json_response(documents.request_page(shown, base_url, next_cursor), headers=headers)


async def own(gateway: Gateway, principal: Principal, request_id: str) -> Generation:
    """Returns the tenant's generation with this id, if it is visible to the principal.

    A test key does not see live generations: whatever it names, RunComfy is never asked about it.

    Raises:
        Problem: REQUEST_NOT_FOUND, in the same words where there is none, where it is another tenant's or of
            the other mode, and where the client token does not see it. REQUEST_ARCHIVED, for API keys.

    """
    generation = None
    if is_id(request_id):
        generation = await gateway.following.tracker.find(request_id, principal.tenant_id)
        if generation is None:
            await _check_archived(gateway, principal, request_id)
    return _visible(principal, generation)


async def own_all(gateway: Gateway, principal: Principal, request_ids: Sequence[str]) -> list[Generation]:
    """Returns the tenant's generations with these ids, if all are visible to the principal.

    Raises:
        Problem: REQUEST_NOT_FOUND or REQUEST_ARCHIVED, as `own`; it names the request.

    """
    wanted = [one for one in request_ids if is_id(one)]
    rows = await gateway.db.read(store.find_all, wanted, principal.tenant_id)
    found = []
    for request_id in request_ids:
        if is_id(request_id) and request_id not in rows:
            await _check_archived(gateway, principal, request_id)
        try:
            found.append(_visible(principal, rows.get(request_id)))
        except Problem as problem:
            if is_id(request_id):
                problem.extra["request_id"] = request_id
            raise
    return found


async def _check_archived(gateway: Gateway, principal: Principal, request_id: str) -> None:
    """Checks that a request which is not there was not archived.

    Raises:
        Problem: REQUEST_ARCHIVED; to client tokens it is as if there were none.

    """
    if principal.token is not None:
        return
    gone = await gateway.db.read(archived.find, request_id)
    if gone is not None and (gone.tenant_id, gone.mode) == (principal.tenant_id, principal.mode):
        raise gone.problem()


def _visible(principal: Principal, generation: Generation | None) -> Generation:
    if generation is None or not visibility.is_visible(principal, generation):
        raise Problem(REQUEST_NOT_FOUND, "This tenant has no such request.")
    return generation


def _staleness(generation: Generation) -> dict[str, str]:
    """Returns the header of a record that may be out of date, because RunComfy could not be asked."""
    return {} if generation.stale_reason is None else {STALE_HEADER: generation.stale_reason}
