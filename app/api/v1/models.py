"""Handlers of models: the catalogue, and the submit to one of its models."""

from typing import Annotated, Any, Literal

from fastapi import Query, Request
from starlette.responses import Response

from app.api.bodies import json_response, model_input
from app.api.deps import CanRead, CanSubmit, Open
from app.api.headers.rate_limit import rate_headers_of
from app.api.headers.request import (
    REPLAYED,
    SubmitHeaders,
    caller_of,
    preferences_of,
    submit_headers_of,
    wait_for,
)
from app.auth.callers import Caller
from app.auth.principal import Principal
from app.catalog.model import Model
from app.documents.amounts.limits import submit_headers
from app.documents.generations import models as documents
from app.documents.generations.requests import submitted
from app.errors import DATABASE_UNAVAILABLE, MODEL_NOT_FOUND, Problem
from app.gateway import Gateway
from app.generations.store import Generation
from app.generations.submit.submitter import Submission
from app.kit.log import trace_id_var
from app.quotas.problem import QuotaProblem

WARNINGS_HEADER = "Reelgate-Media-Warnings"


async def list_models(
    gateway: Open,
    principal: CanRead,
    *,
    search: Annotated[str, Query(max_length=200)] = "",
    category: Annotated[str, Query(max_length=200)] = "",
    kind: Annotated[Literal["model", "workflow", "inference"] | None, Query()] = None,
    include_schema: Annotated[bool, Query()] = False,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
) -> Response:
    """The models that this key may use, by model id."""
    found = [
        model
        for model in _usable(gateway, principal)
        if (not search or model.matches(search))
        and (not category or category in model.categories)
        and (kind is None or model.kind == kind)
    ]
    return json_response(documents.model_page(found, limit=limit, offset=offset, with_schemas=include_schema))


async def list_model_categories(gateway: Open, principal: CanRead) -> Response:
    """The categories of the models that this key may use."""
    return json_response(documents.model_categories(_usable(gateway, principal)))


def _usable(gateway: Gateway, principal: Principal) -> list[Model]:
    return [model for model in gateway.catalog.models.values() if principal.may_use(model.model_id)]


async def get_model(gateway: Open, principal: CanRead, model_id: str) -> Response:
    """One model: its schema, its price and its media rules."""
    model = gateway.catalog.models.get(model_id.strip("/"))
    if model is None or not principal.may_use(model.model_id):
        raise Problem(MODEL_NOT_FOUND, f"There is no model {model_id[:200]!r} in the catalogue.")
    return json_response(documents.model(model))


async def submit(request: Request, gateway: Open, principal: CanSubmit, model_id: str) -> Response:
    """Submit a request. The body is the model's input; with an Idempotency-Key it is safe to repeat.

    With a `wait`, the response is held until the generation has ended, or the time is over.
    """
    preferences = preferences_of(request, gateway)
    try:
        asked = submit_headers_of(request.headers, gateway.clock)
        async with model_input(request, gateway, principal, model_id.strip("/")) as body:
            caller = caller_of(request, gateway)
            submission = await send(gateway, principal, model_id.strip("/"), body, asked=asked, caller=caller)
        del body  # the answer may be held for a while, and pictures by value are large
    except Problem as problem:
        await add_headers(problem, gateway, principal, model_id)
        raise
    document = submitted(submission.generation, gateway.base_url)
    try:
        await wait_for(
            request, principal, submission.generation, preferences.wait_s, lambda one: one.terminal
        )
    except Problem as problem:
        # The database is away: the caller gets the id of its request all the same.
        if problem.fault is not DATABASE_UNAVAILABLE:
            raise
    headers = await headers_of(gateway, principal, model_id, submission)
    return json_response(document, headers=headers | preferences.headers)


async def send(
    gateway: Gateway,
    principal: Principal,
    model_id: str,
    body: dict[str, Any],
    *,
    asked: SubmitHeaders,
    caller: Caller,
) -> Submission:
    """Submits what a call asks for, under the trace of this call."""
    return await gateway.submitter.submit(
        principal,
        model_id,
        body,
        trace_id=trace_id_var.get(),
        idempotency_key=asked.idempotency_key,
        start_deadline_ms=asked.start_deadline_ms,
        webhook_endpoint_id=asked.webhook_endpoint_id,
        keep_output_s=asked.keep_output_s,
        caller=caller,
    )


async def headers_of(
    gateway: Gateway, principal: Principal, model_id: str, submission: Submission
) -> dict[str, str]:
    """Returns the headers of the answer to a submit that made a request, now or earlier."""
    if submission.replayed:
        headers = REPLAYED | await rate_headers_of(gateway, principal, model_id)
    else:
        headers = submit_headers(principal, submission.standings)
    return headers | _media_warnings(submission.generation)


async def add_headers(problem: Problem, gateway: Gateway, principal: Principal, model_id: str) -> None:
    """Adds the headers that a refused submit is answered with."""
    if problem.replayed:
        problem.headers |= REPLAYED
    # A quota problem has its own rate headers; without the database there are none.
    if not isinstance(problem, QuotaProblem) and problem.fault is not DATABASE_UNAVAILABLE:
        problem.headers |= await rate_headers_of(gateway, principal, model_id)


def _media_warnings(generation: Generation) -> dict[str, str]:
    """Returns a header with the number of media rules that the input breaks although it was accepted, if any.

    The request's record says which they are.
    """
    count = sum(len(file["errors"]) for file in generation.media or ())
    return {WARNINGS_HEADER: str(count)} if count else {}
