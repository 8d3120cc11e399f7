"""Handlers of webhook endpoints, for API keys: making, editing, pausing, testing, rotating, deleting."""

from typing import Annotated, Any, Final, TypeVar

from fastapi import Query, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import Connection
from starlette.responses import Response

from app.admin.calls import tag_of
from app.admin.paging import unknown_cursor
from app.admin.webhooks import webhook_terms
from app.api.bodies import if_match_of, json_response, read_object, tags_of
from app.api.deps import CanReadWebhooks, CanWriteWebhooks, Open
from app.api.v1.usage import next_link
from app.auth.principal import Principal
from app.catalog.findings import fragment
from app.documents import webhook_deliveries as deliveries
from app.documents import webhook_endpoints as documents
from app.documents.webhook_endpoints import WebhookEndpoint
from app.errors import (
    INVALID_WEBHOOK_ENDPOINT,
    PRECONDITION_FAILED,
    PRECONDITION_REQUIRED,
    FieldError,
    Problem,
)
from app.gateway import Gateway
from app.quotas.account import Owner
from app.webhooks.history import trials
from app.webhooks.registry import endpoints, rotation, secrets
from app.webhooks.registry.endpoints import Endpoint, Terms
from app.webhooks.registry.rotation import DEFAULT_GRACE_S
from app.webhooks.registry.secrets import Scheme

B = TypeVar("B", bound=BaseModel)
_MAX_EVENTS: Final = 50
_MAX_TEXT: Final = 10_000

Text = Annotated[str, Field(max_length=_MAX_TEXT)]
Events = Annotated[list[Text], Field(max_length=_MAX_EVENTS)]


class Body(BaseModel):
    """A body of these routes: members that are not known are refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


class _TermsBody(Body):
    """`WebhookEndpointTerms` publishes it."""

    url: Text
    description: Text = ""
    events: Events | None = None
    vendor_links: bool = False

    @property
    def terms(self) -> Terms:
        return Terms(
            url=self.url,
            description=self.description,
            events=None if self.events is None else tuple(self.events),
            vendor_links=self.vendor_links,
        )


class _NewBody(_TermsBody):
    """`NewWebhookEndpoint` publishes it."""

    signature: Scheme = "v1"


class _RotationBody(Body):
    """`WebhookRotation` publishes it."""

    grace_s: int = DEFAULT_GRACE_S
    force: bool = False


async def create_webhook_endpoint(request: Request, gateway: Open, principal: CanWriteWebhooks) -> Response:
    """Make a webhook endpoint: an address that is told of events. Its secret is shown only once."""
    asked = await body_of(request, gateway, _NewBody)
    webhook_terms.check(gateway, asked.terms)
    keys, now_ms, secret = webhook_terms.sealing_keys(gateway), gateway.clock.now_ms(), secrets.generate()

    def make(connection: Connection) -> Endpoint:
        return endpoints.create(
            connection,
            owner_of(principal),
            asked.terms,
            signature=asked.signature,
            secret=secret,
            keys=keys,
            at_most=gateway.settings.webhook_endpoints,
            now_ms=now_ms,
        )

    made = await gateway.db.write_for(principal.tenant_id, make)
    return _with_secret(gateway, made, secret, status_code=201)


async def list_webhook_endpoints(
    request: Request,
    gateway: Open,
    principal: CanReadWebhooks,
    *,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str | None, Query(max_length=100)] = None,
) -> Response:
    """The tenant's webhook endpoints in the mode of this key, newest first, without their secrets."""
    if cursor is not None and not endpoints.is_endpoint_id(cursor):
        raise unknown_cursor()
    found = await gateway.db.read(endpoints.page, owner=owner_of(principal), before=cursor, limit=limit + 1)
    shown = found[:limit]
    next_cursor = shown[-1].id if len(found) > limit else None
    headers = {} if next_cursor is None else {"Link": next_link(request, gateway.base_url, next_cursor)}
    document = {"endpoints": [_document(gateway, one) for one in shown], "next_cursor": next_cursor}
    return json_response(document, headers=headers)


async def get_webhook_endpoint(
    request: Request, gateway: Open, principal: CanReadWebhooks, endpoint_id: str
) -> Response:
    """A webhook endpoint. Its `ETag` is what an edit names; its health is no part of that."""
    found = await gateway.db.read(endpoints.find, endpoint_id, owner_of(principal))
    document = _document(gateway, found)
    headers = {"ETag": tag_of(document)}
    if tags_of(request) & {headers["ETag"], "*"}:
        return Response(status_code=304, headers=headers)
    return json_response(document, headers=headers)


async def edit_webhook_endpoint(
    request: Request, gateway: Open, principal: CanWriteWebhooks, endpoint_id: str
) -> Response:
    """Replace what a webhook endpoint is: its URL, note, events and links."""
    tags = if_match_of(request)
    if tags is None:
        raise Problem(PRECONDITION_REQUIRED, "An edit needs the header `If-Match`.")
    asked = await body_of(request, gateway, _TermsBody)
    webhook_terms.check(gateway, asked.terms)
    now_ms = gateway.clock.now_ms()

    def change(connection: Connection) -> Endpoint:
        before = endpoints.to_change(connection, endpoint_id, owner_of(principal))
        now = tag_of(_document(gateway, before))
        if not tags & {now, "*"}:
            detail = f"Its entity tag is {now} now; nothing was changed."
            raise Problem(PRECONDITION_FAILED, detail, headers={"ETag": now})
        return endpoints.edit(connection, before, asked.terms, now_ms=now_ms)

    return _tagged(gateway, await gateway.db.write_for(principal.tenant_id, change))


async def pause_webhook_endpoint(gateway: Open, principal: CanWriteWebhooks, endpoint_id: str) -> Response:
    """Send nothing more to a webhook endpoint until it is enabled; its events wait."""
    now_ms = gateway.clock.now_ms()

    def change(connection: Connection) -> Endpoint:
        before = endpoints.to_change(connection, endpoint_id, owner_of(principal))
        return endpoints.pause(connection, before, now_ms=now_ms)

    return _tagged(gateway, await gateway.db.write_for(principal.tenant_id, change))


async def enable_webhook_endpoint(gateway: Open, principal: CanWriteWebhooks, endpoint_id: str) -> Response:
    """Send to a webhook endpoint again that was paused, disabled or gone."""
    now_ms = gateway.clock.now_ms()

    def change(connection: Connection) -> Endpoint:
        before = endpoints.to_change(connection, endpoint_id, owner_of(principal))
        return endpoints.enable(connection, before, now_ms=now_ms)

    return _tagged(gateway, await gateway.db.write_for(principal.tenant_id, change))


async def delete_webhook_endpoint(gateway: Open, principal: CanWriteWebhooks, endpoint_id: str) -> Response:
    """Delete a webhook endpoint and its secrets. What waits for it is not sent."""
    now_ms = gateway.clock.now_ms()

    def change(connection: Connection) -> str:
        before = endpoints.to_change(connection, endpoint_id, owner_of(principal))
        endpoints.delete(connection, before, now_ms=now_ms)
        return before.id

    return json_response({"endpoint_id": await gateway.db.write_for(principal.tenant_id, change)})


async def rotate_webhook_secret(
    request: Request, gateway: Open, principal: CanWriteWebhooks, endpoint_id: str
) -> Response:
    """Give a webhook endpoint a new secret. For a time, messages are signed with both, the new one first."""
    asked = await body_of(request, gateway, _RotationBody)
    webhook_terms.check_grace(asked.grace_s)
    keys, now_ms, secret = webhook_terms.sealing_keys(gateway), gateway.clock.now_ms(), secrets.generate()

    def change(connection: Connection) -> Endpoint:
        before = endpoints.to_change(connection, endpoint_id, owner_of(principal))
        return rotation.rotate(
            connection,
            before,
            secret,
            keys=keys,
            grace_ms=asked.grace_s * 1000,
            force=asked.force,
            now_ms=now_ms,
        )

    return _with_secret(gateway, await gateway.db.write_for(principal.tenant_id, change), secret)


async def revoke_previous_webhook_secret(
    gateway: Open, principal: CanWriteWebhooks, endpoint_id: str
) -> Response:
    """Sign with a webhook endpoint's present secret alone from now on."""
    now_ms = gateway.clock.now_ms()

    def change(connection: Connection) -> Endpoint:
        before = endpoints.to_change(connection, endpoint_id, owner_of(principal))
        return rotation.revoke_previous(connection, before, now_ms=now_ms)

    return _tagged(gateway, await gateway.db.write_for(principal.tenant_id, change))


async def test_webhook_endpoint(gateway: Open, principal: CanWriteWebhooks, endpoint_id: str) -> Response:
    """Send a test event to a webhook endpoint. Whether it arrives has no consequence for the endpoint."""
    now_ms = gateway.clock.now_ms()

    def send(connection: Connection) -> Any:
        one = endpoints.to_change(connection, endpoint_id, owner_of(principal))
        return trials.send(connection, one, now_ms=now_ms)

    made = await gateway.db.write_for(principal.tenant_id, send)
    return json_response(deliveries.delivery(made), status_code=201)


async def body_of(request: Request, gateway: Gateway, form: type[B]) -> B:
    """Returns the body of a request, checked.

    Raises:
        Problem: INVALID_WEBHOOK_ENDPOINT, with everything that is wrong; and as from `read_object`.

    """
    body = await read_object(request, cap_bytes=gateway.settings.max_body_bytes)
    try:
        return form.model_validate(body)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        errors = [FieldError(fragment(one["loc"]), str(one["type"]), str(one["msg"])) for one in found[:20]]
    detail = errors[0].detail if len(errors) == 1 else f"{len(errors)} violations; see `errors`."
    raise Problem(INVALID_WEBHOOK_ENDPOINT, detail, errors=errors)


def owner_of(principal: Principal) -> Owner:
    """Returns whose webhooks a caller may see and change."""
    return Owner(principal.tenant_id, principal.mode)


def _document(gateway: Gateway, one: Endpoint) -> WebhookEndpoint:
    keys = webhook_terms.public_keys(gateway, one)
    return documents.endpoint(one, keys, gateway.clock.now_ms())


def _tagged(gateway: Gateway, one: Endpoint) -> Response:
    document = _document(gateway, one)
    return json_response(document, headers={"ETag": tag_of(document)})


def _with_secret(gateway: Gateway, one: Endpoint, secret: bytes, *, status_code: int = 200) -> Response:
    shown = secrets.shown(secret, "v1") if one.signature == "v1" else None
    return json_response({**_document(gateway, one), "secret": shown}, status_code=status_code)
