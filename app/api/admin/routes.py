"""The routes of the admin API: one route, behind which the table of operations says what there is.

Whoever has no admin key learns nothing of it: a call with any other key is answered like one to an
address that does not exist, with whatever method.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from fastapi import FastAPI
from pydantic import ValidationError
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Match, Route, compile_path
from starlette.types import Scope

from app.admin.actor import of_admin_key
from app.admin.calls import Call, fingerprint_of, perform, tag_of
from app.admin.operation import REASON, Form, Operation
from app.admin.operations.every import OPERATIONS
from app.api.admin import events
from app.api.bodies import if_match_of, json_response, read_file, read_object, tags_of
from app.api.headers.request import IDEMPOTENCY_KEY, REPLAYED, idempotency_key_of
from app.api.pages import refuse_foreign_page, session_text
from app.api.problems import ADMIN_KID, PRESENTED_KID, SESSION
from app.api.query import Takes, faults_in, hinted, problem_of
from app.auth.admin_keys import AdminKey, AdminScope, kid_in
from app.auth.permits import Operator
from app.catalog.findings import fragment
from app.errors import (
    INSUFFICIENT_ADMIN_SCOPE,
    INVALID_CHANGE,
    INVALID_REASON,
    METHOD_NOT_ALLOWED,
    MISSING_ADMIN_KEY,
    MISSING_IDEMPOTENCY_KEY,
    PRECONDITION_REQUIRED,
    FieldError,
    Problem,
)
from app.gateway import Gateway
from app.kit.json import dumps

ROOT: Final = "/admin"
CONTRACT: Final = f"{ROOT}/openapi.json"
_KEY_PREFIX: Final = "rg_admin_"
_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
_MAX_ERRORS: Final = 20
_MATCHERS: Final = [(compile_path(one.path)[0], one) for one in OPERATIONS]


class _AdminRoute(Route):
    """Everything below `/admin`. `OPTIONS` finds nothing there: it is answered without a key."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] == "http" and scope["method"] == "OPTIONS":
            return Match.NONE, {}
        return super().matches(scope)


def add_admin_routes(app: FastAPI) -> None:
    """Adds the admin API to an application whose state has the gateway."""
    app.router.routes.append(
        _AdminRoute(f"{ROOT}/{{rest:path}}", _answer, methods=list(_METHODS), include_in_schema=False)
    )


async def _answer(request: Request) -> Response:
    gateway: Gateway = request.app.state.gateway
    key = await _authenticated(request, gateway)
    if request.scope["path"] == CONTRACT and request.method == "GET":
        _refuse_query(request, {})
        from app.api.admin.openapi import build  # noqa: PLC0415 - only who asks for it waits for it

        return json_response(build(request.app.version, gateway.base_url))
    if request.scope["path"] == events.PATH:
        return _stream(request, gateway, key)
    return await _operate(request, gateway, key)


async def _operate(request: Request, gateway: Gateway, key: AdminKey) -> Response:
    operation, of_path = _operation_at(request)
    _require(key, operation.scope)
    if operation.changes:
        return await _change(request, gateway, key, operation, of_path)
    members, form = _query(request, operation)
    members |= await _uploaded(request, operation)
    result = await operation.function(gateway, **operation.arguments(members, of_path=of_path))
    if form is not None:
        return await _file(request, form, operation.forms[form], operation.forms[form].write(gateway, result))
    document = operation.document(gateway, result)
    if not operation.tagged:
        return json_response(document)
    headers = {"ETag": tag_of(document)}
    if tags_of(request) & {headers["ETag"], "*"}:
        return Response(status_code=304, headers=headers)
    return json_response(document, headers=headers)


def _stream(request: Request, gateway: Gateway, key: AdminKey) -> Response:
    """Answers with the event stream, which is no operation: no command does the same."""
    if request.method != "GET":
        raise _not_allowed(request, {"GET"})
    _require(key, events.SCOPE)
    _refuse_query(request, {})
    return events.stream_changes(gateway, Operator(key.kid, request.scope["state"].get(SESSION)))


def _require(key: AdminKey, scope: AdminScope) -> None:
    if not key.may(scope):
        raise Problem(INSUFFICIENT_ADMIN_SCOPE, f"This admin key lacks the scope `{scope}`.")


async def _authenticated(request: Request, gateway: Gateway) -> AdminKey:
    """Returns the admin key of a call: the one that was sent, or that of the console's session.

    Raises:
        HTTPException: 404, where any other key was sent.
        Problem: MISSING_ADMIN_KEY, INVALID_ADMIN_KEY, TOO_MANY_ATTEMPTS, SESSION_ENDED, FOREIGN_PAGE,
            DATABASE_UNAVAILABLE.

    """
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    text = text.strip()
    if not scheme and (presented := session_text(request, gateway.settings, "console")) is not None:
        refuse_foreign_page(request, gateway.base_url)
        session, key = await gateway.access.sessions.of_console(presented)
        request.scope["state"] |= {ADMIN_KID: key.kid, SESSION: session.session_id}
        return key
    if scheme.lower() != "bearer" or not text:
        raise Problem(MISSING_ADMIN_KEY, "There is no `Authorization: Bearer rg_admin_…` header.")
    if not text.startswith(_KEY_PREFIX):
        raise HTTPException(404)
    try:
        key = await gateway.access.admin.authenticate(text, network_of_call(request, gateway))
    except Problem:
        if (kid := kid_in(text)) is not None:
            request.scope["state"][PRESENTED_KID] = kid
        raise
    request.scope["state"][ADMIN_KID] = key.kid
    return key


def network_of_call(request: Request, gateway: Gateway) -> str:
    """Returns from where a call comes, as far as that is known: wrong admin keys are counted by it."""
    peer = request.client.host if request.client is not None else None
    return gateway.access.callers.network(peer, request.scope["headers"]) or peer or ""


def _operation_at(request: Request) -> tuple[Operation[Any], dict[str, str]]:
    """Returns the operation at this address, and what stands in its path.

    Raises:
        HTTPException: 404.
        Problem: METHOD_NOT_ALLOWED.

    """
    allowed: set[str] = set()
    for pattern, operation in _MATCHERS:
        if (found := pattern.fullmatch(request.scope["path"])) is None:
            continue
        if operation.method == request.method:
            return operation, found.groupdict()
        allowed.add(operation.method)
    if not allowed:
        raise HTTPException(404)
    raise _not_allowed(request, allowed)


def _not_allowed(request: Request, allowed: set[str]) -> Problem:
    methods = ", ".join(sorted(allowed | ({"HEAD"} if "GET" in allowed else set())))
    detail = f"This address supports {methods}, not {request.method}."
    return Problem(METHOD_NOT_ALLOWED, detail, headers={"Allow": methods})


def _query(request: Request, operation: Operation[Any]) -> tuple[dict[str, Any], str | None]:
    """Returns the checked parameters of a query that were sent, and the form that is asked for, if any.

    Raises:
        Problem: INVALID_PARAMETER.

    """
    sent: QueryParams = request.query_params
    many = {one.name: _is_list(one.form) for one in operation.parameters if one.place == "query"}
    of_form = {"format": False} if operation.forms else {}
    errors = faults_in(request, {name: Takes(many=several) for name, several in (many | of_form).items()})
    form = None
    if operation.forms:
        form = sent.get("format") or _accepted(request, operation)
        if form not in {None, "json", *operation.forms}:
            detail = f"must be one of {', '.join(['json', *operation.forms])}"
            errors.append(FieldError(fragment(("query", "format")), "enum", detail))
    members = {name: sent.getlist(name) if many[name] else sent[name] for name in many if name in sent}
    try:
        checked = operation.model.model_validate(members)
    except ValidationError as error:
        errors += hinted(
            request, [name for name in many if many[name]], _errors_of(error, "query", no_deeper=True)
        )
    if errors:
        raise problem_of(list({one.pointer: one for one in reversed(errors)}.values()))
    return {name: getattr(checked, name) for name in members}, None if form == "json" else form


def _accepted(request: Request, operation: Operation[Any]) -> str | None:
    """Returns the first form whose media type the caller accepts by name."""
    accepted = request.headers.get("accept", "").lower()
    types = {name: form.media_type.partition(";")[0] for name, form in operation.forms.items()}
    return next((name for name, media_type in types.items() if media_type in accepted), None)


async def _uploaded(request: Request, operation: Operation[Any]) -> dict[str, bytes]:
    """Returns the file in the body by its parameter's name; nothing where the operation takes none.

    Raises:
        Problem: UNSUPPORTED_MEDIA_TYPE, BODY_TOO_LARGE.

    """
    if (upload := operation.upload) is None:
        return {}
    (name,) = (one.name for one in operation.parameters if one.place == "file")
    return {name: await read_file(request, upload.media_type, cap_bytes=upload.max_bytes)}


async def _file(request: Request, name: str, form: Form, parts: AsyncIterator[bytes]) -> Response:
    """Answers with a file. What fails before its first part is ready is an error like any other."""
    first = await anext(parts, b"")

    async def body() -> AsyncIterator[bytes]:
        yield first
        async for part in parts:
            yield part

    title = request.scope["path"].removeprefix(f"{ROOT}/v1/").replace("/", "-")
    headers = {"Content-Disposition": f'attachment; filename="{title}.{name}"'}
    return StreamingResponse(body(), headers=headers, media_type=form.media_type)


def _is_list(form: Any) -> bool:
    return "list[" in str(form)


def _refuse_query(request: Request, names: Mapping[str, Takes]) -> None:
    if errors := faults_in(request, names):
        raise problem_of(errors)


async def _change(
    request: Request, gateway: Gateway, key: AdminKey, operation: Operation[Any], of_path: Mapping[str, str]
) -> Response:
    _refuse_query(request, {})
    idempotency_key = idempotency_key_of(request.headers)
    if idempotency_key is None:
        detail = f"A change needs the header `{IDEMPOTENCY_KEY}`."
        raise Problem(MISSING_IDEMPOTENCY_KEY, detail)
    tags = if_match_of(request)
    if tags is None and operation.edits:
        raise Problem(PRECONDITION_REQUIRED, "An edit needs the header `If-Match`.")
    body = await read_object(request, cap_bytes=gateway.settings.max_body_bytes)
    members = _members(operation, body)
    call = Call(
        kid=key.kid,
        actor=of_admin_key(key),
        idempotency_key=idempotency_key,
        fingerprint=fingerprint_of(operation, request.scope["path"], body),
        tags=tags,
    )
    answer = await perform(gateway, operation, operation.arguments(members, of_path=of_path), call)
    headers = dict(REPLAYED) if answer.replayed else {}
    if operation.tagged:
        headers["ETag"] = tag_of(answer.document)
    return json_response(answer.document, status_code=operation.status, headers=headers)


def _members(operation: Operation[Any], body: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the checked members of a body that were sent.

    Raises:
        Problem: INVALID_REASON, INVALID_CHANGE.

    """
    if not str(body.get(REASON) or "").strip():
        error = FieldError(f"#/{REASON}", "missing", "a change needs a reason, for the audit log.")
        raise Problem(INVALID_REASON, error.detail, errors=[error])
    try:
        checked = operation.model.model_validate_json(dumps(body))  # JSON has no moments: texts are ones
    except ValidationError as error:
        errors = _errors_of(error)
        detail = errors[0].detail if len(errors) == 1 else f"{len(errors)} violations; see `errors`."
        raise Problem(INVALID_CHANGE, detail, errors=errors) from None
    return {name: getattr(checked, name) for name in checked.model_fields_set}


def _errors_of(error: ValidationError, *before: str, no_deeper: bool = False) -> list[FieldError]:
    """Returns what a model found; with `no_deeper`, a value of a list is named by its parameter."""
    found = error.errors(include_url=False, include_input=False, include_context=False)[:_MAX_ERRORS]
    return [
        FieldError(
            fragment((*before, *(one["loc"][:1] if no_deeper else one["loc"]))),
            str(one["type"]),
            f"`{one['loc'][0]}`: {one['msg']}" if not no_deeper else str(one["msg"]),
        )
        for one in found
    ]
