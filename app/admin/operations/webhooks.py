"""The operations on webhooks: endpoints, deliveries and replays."""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection

from app.admin.operation import Operation
from app.admin.paging import Page
from app.admin.session import AdminGateway
from app.admin.webhooks import webhook_endpoints as cases
from app.admin.webhooks import webhook_log, webhook_terms
from app.admin.webhooks.webhook_endpoints import NamedDelivery, NamedEndpoint
from app.admin.webhooks.webhook_log import NamedDeliveryInFull, NamedReplay
from app.documents import webhook_deliveries as deliveries
from app.documents import webhook_endpoints as documents
from app.documents.admin.webhooks import (
    ResealedSecrets,
    TenantWebhookDelivery,
    TenantWebhookDeliveryInFull,
    TenantWebhookDeliveryPage,
    TenantWebhookEndpoint,
    TenantWebhookEndpointPage,
    TenantWebhookEndpointWithSecret,
    TenantWebhookReplay,
    TenantWebhookReplayPage,
)
from app.errors import (
    INVALID_PARAMETER,
    INVALID_WEBHOOK_ENDPOINT,
    REPLAY_RUNNING,
    ROTATION_OPEN,
    TENANT_NOT_FOUND,
    TOO_MANY_WEBHOOK_ENDPOINTS,
    WEBHOOK_DELIVERY_NOT_FOUND,
    WEBHOOK_ENDPOINT_NOT_FOUND,
    WEBHOOK_ENDPOINT_STOPPED,
    WEBHOOK_REPLAY_NOT_FOUND,
    WEBHOOKS_NOT_CONFIGURED,
)
from app.webhooks.registry import endpoints
from app.webhooks.registry.rotation import Resealed

_ENDPOINTS: Final = "/admin/v1/webhook-endpoints"
_ENDPOINT: Final = f"{_ENDPOINTS}/{{endpoint_id}}"
_DELIVERIES: Final = "/admin/v1/webhook-deliveries"
_DELIVERY: Final = f"{_DELIVERIES}/{{delivery_id}}"
_REPLAYS: Final = "/admin/v1/webhook-replays"
_REPLAY: Final = f"{_REPLAYS}/{{replay_id}}"
_TAG: Final = "webhooks"


def _endpoint(gateway: AdminGateway, one: NamedEndpoint) -> TenantWebhookEndpoint:
    keys = webhook_terms.public_keys(gateway, one.endpoint)
    return {**documents.endpoint(one.endpoint, keys, gateway.clock.now_ms()), "tenant": one.tenant}


def _page(gateway: AdminGateway, page: Page[NamedEndpoint]) -> TenantWebhookEndpointPage:
    return {"endpoints": [_endpoint(gateway, one) for one in page.entries], "next_cursor": page.next_cursor}


def _with_secret(gateway: AdminGateway, one: NamedEndpoint) -> TenantWebhookEndpointWithSecret:
    return {**_endpoint(gateway, one), "secret": one.secret}


def _current(
    gateway: AdminGateway, connection: Connection, arguments: Mapping[str, Any]
) -> TenantWebhookEndpoint:
    one = endpoints.to_change(connection, arguments["endpoint_id"])
    return _endpoint(gateway, cases.named(connection, one))


def _delivery(_gateway: AdminGateway, one: NamedDelivery) -> TenantWebhookDelivery:
    return {**deliveries.delivery(one.delivery), "tenant": one.tenant}


def _deliveries(gateway: AdminGateway, page: Page[NamedDelivery]) -> TenantWebhookDeliveryPage:
    return {"deliveries": [_delivery(gateway, one) for one in page.entries], "next_cursor": page.next_cursor}


def _delivery_in_full(_gateway: AdminGateway, one: NamedDeliveryInFull) -> TenantWebhookDeliveryInFull:
    return {**deliveries.delivery_in_full(one.found), "tenant": one.tenant}


def _replay(_gateway: AdminGateway, one: NamedReplay) -> TenantWebhookReplay:
    return {**deliveries.replay(one.replay), "tenant": one.tenant}


def _replays(gateway: AdminGateway, page: Page[NamedReplay]) -> TenantWebhookReplayPage:
    return {"replays": [_replay(gateway, one) for one in page.entries], "next_cursor": page.next_cursor}


def _resealed(_gateway: AdminGateway, done: Resealed) -> ResealedSecrets:
    return {"resealed": done.resealed, "unreadable": [*done.unreadable], "last": done.last}


LIST: Final = Operation(
    name="list_webhook_endpoints",
    command="webhooks list",
    method="GET",
    path=_ENDPOINTS,
    scope="read",
    tag=_TAG,
    text="In pages, without their secrets. Every parameter narrows the search.",
    function=cases.listed,
    document=_page,
    shape=TenantWebhookEndpointPage,
    faults=(TENANT_NOT_FOUND, INVALID_PARAMETER),
)
CREATE: Final = Operation(
    name="create_webhook_endpoint",
    command="webhooks create",
    method="POST",
    path=_ENDPOINTS,
    scope="operate",
    tag=_TAG,
    text="The answer has its secret, which is shown once. A repeated call is answered without it: if the"
    " first answer was lost, rotate the secret.",
    function=cases.create,
    document=_with_secret,
    shape=TenantWebhookEndpointWithSecret,
    faults=(
        INVALID_WEBHOOK_ENDPOINT,
        TENANT_NOT_FOUND,
        TOO_MANY_WEBHOOK_ENDPOINTS,
        WEBHOOKS_NOT_CONFIGURED,
    ),
    status=201,
    reveals="secret",
)
SHOW: Final = Operation(
    name="get_webhook_endpoint",
    command="webhooks show",
    method="GET",
    path=_ENDPOINT,
    scope="read",
    tag=_TAG,
    text="Its `ETag` is what an edit names in `If-Match`; its health is no part of that.",
    function=cases.show,
    document=_endpoint,
    shape=TenantWebhookEndpoint,
    faults=(WEBHOOK_ENDPOINT_NOT_FOUND,),
    current=_current,
)
EDIT: Final = Operation(
    name="edit_webhook_endpoint",
    command="webhooks edit",
    method="PUT",
    path=_ENDPOINT,
    scope="operate",
    tag=_TAG,
    text="All of it is replaced: a member that is left out has its default then.",
    function=cases.edit,
    document=_endpoint,
    shape=TenantWebhookEndpoint,
    faults=(INVALID_WEBHOOK_ENDPOINT, WEBHOOK_ENDPOINT_NOT_FOUND),
    current=_current,
)
PAUSE: Final = Operation(
    name="pause_webhook_endpoint",
    command="webhooks pause",
    method="POST",
    path=f"{_ENDPOINT}/pause",
    scope="operate",
    tag=_TAG,
    text="What waits is kept for as long as the log.",
    function=cases.pause,
    document=_endpoint,
    shape=TenantWebhookEndpoint,
    faults=(WEBHOOK_ENDPOINT_NOT_FOUND, WEBHOOK_ENDPOINT_STOPPED),
    current=_current,
)
ENABLE: Final = Operation(
    name="enable_webhook_endpoint",
    command="webhooks enable",
    method="POST",
    path=f"{_ENDPOINT}/enable",
    scope="operate",
    tag=_TAG,
    text="Of one that was disabled or gone, nothing that was missed is sent by itself.",
    function=cases.enable,
    document=_endpoint,
    shape=TenantWebhookEndpoint,
    faults=(WEBHOOK_ENDPOINT_NOT_FOUND,),
    current=_current,
)
DELETE: Final = Operation(
    name="delete_webhook_endpoint",
    command="webhooks delete",
    method="POST",
    path=f"{_ENDPOINT}/delete",
    scope="operate",
    tag=_TAG,
    text="What waits for it is not sent.",
    function=cases.delete,
    document=_endpoint,
    shape=TenantWebhookEndpoint,
    faults=(WEBHOOK_ENDPOINT_NOT_FOUND,),
    current=_current,
)
ROTATE: Final = Operation(
    name="rotate_webhook_secret",
    command="webhooks rotate",
    method="POST",
    path=f"{_ENDPOINT}/rotate",
    scope="operate",
    tag=_TAG,
    text="The new secret is shown once: a repeated call is answered without it.",
    function=cases.rotate,
    document=_with_secret,
    shape=TenantWebhookEndpointWithSecret,
    faults=(
        INVALID_WEBHOOK_ENDPOINT,
        WEBHOOK_ENDPOINT_NOT_FOUND,
        ROTATION_OPEN,
        WEBHOOKS_NOT_CONFIGURED,
    ),
    reveals="secret",
)
REVOKE_PREVIOUS: Final = Operation(
    name="revoke_previous_webhook_secret",
    command="webhooks revoke-previous",
    method="POST",
    path=f"{_ENDPOINT}/revoke-previous",
    scope="operate",
    tag=_TAG,
    text="Repeating it is harmless.",
    function=cases.revoke_previous,
    document=_endpoint,
    shape=TenantWebhookEndpoint,
    faults=(WEBHOOK_ENDPOINT_NOT_FOUND,),
    current=_current,
)
TEST: Final = Operation(
    name="test_webhook_endpoint",
    command="webhooks test",
    method="POST",
    path=f"{_ENDPOINT}/test",
    scope="operate",
    tag=_TAG,
    text="The answer is its delivery, whose record tells what became of it.",
    function=cases.send_test,
    document=_delivery,
    shape=TenantWebhookDelivery,
    faults=(WEBHOOK_ENDPOINT_NOT_FOUND, WEBHOOK_ENDPOINT_STOPPED),
    status=201,
)
REPLAY: Final = Operation(
    name="replay_webhooks",
    command="webhooks replay",
    method="POST",
    path=f"{_ENDPOINT}/replays",
    scope="operate",
    tag=_TAG,
    text="It proceeds in the background: its record tells how far it has come.",
    function=webhook_log.replay,
    document=_replay,
    shape=TenantWebhookReplay,
    faults=(
        INVALID_WEBHOOK_ENDPOINT,
        WEBHOOK_ENDPOINT_NOT_FOUND,
        WEBHOOK_ENDPOINT_STOPPED,
        REPLAY_RUNNING,
    ),
    status=201,
)
RESEAL: Final = Operation(
    name="reseal_webhook_secrets",
    command="webhooks reseal",
    method="POST",
    path="/admin/v1/webhook-secrets/reseal",
    scope="root",
    tag=_TAG,
    text="For the time in which REELGATE_WEBHOOK_KEY has two keys. At most 1,000 in one call: a further one"
    " goes on after `last`.",
    function=cases.reseal,
    document=_resealed,
    shape=ResealedSecrets,
    faults=(INVALID_WEBHOOK_ENDPOINT, WEBHOOKS_NOT_CONFIGURED),
)
DELIVERIES: Final = Operation(
    name="list_webhook_deliveries",
    command="webhooks deliveries",
    method="GET",
    path=_DELIVERIES,
    scope="read",
    tag=_TAG,
    text="In pages, without attempts and events. Every parameter narrows the search.",
    function=webhook_log.listed,
    document=_deliveries,
    shape=TenantWebhookDeliveryPage,
    faults=(TENANT_NOT_FOUND, INVALID_PARAMETER),
)
DELIVERY: Final = Operation(
    name="get_webhook_delivery",
    command="webhooks delivery",
    method="GET",
    path=_DELIVERY,
    scope="read",
    tag=_TAG,
    text="With every attempt, and the event as it is sent.",
    function=webhook_log.show,
    document=_delivery_in_full,
    shape=TenantWebhookDeliveryInFull,
    faults=(WEBHOOK_DELIVERY_NOT_FOUND,),
)
RESEND: Final = Operation(
    name="resend_webhook_delivery",
    command="webhooks resend",
    method="POST",
    path=f"{_DELIVERY}/resend",
    scope="operate",
    tag=_TAG,
    text="The answer is a new delivery of the same event.",
    function=webhook_log.resend,
    document=_delivery,
    shape=TenantWebhookDelivery,
    faults=(WEBHOOK_DELIVERY_NOT_FOUND, WEBHOOK_ENDPOINT_NOT_FOUND, WEBHOOK_ENDPOINT_STOPPED),
    status=201,
)
REPLAYS: Final = Operation(
    name="list_webhook_replays",
    command="webhooks replays",
    method="GET",
    path=_REPLAYS,
    scope="read",
    tag=_TAG,
    text="In pages.",
    function=webhook_log.list_replays,
    document=_replays,
    shape=TenantWebhookReplayPage,
    faults=(TENANT_NOT_FOUND, INVALID_PARAMETER),
)
SHOW_REPLAY: Final = Operation(
    name="get_webhook_replay",
    command="webhooks show-replay",
    method="GET",
    path=_REPLAY,
    scope="read",
    tag=_TAG,
    text="It is `finished` once all deliveries of its time were looked at.",
    function=webhook_log.show_replay,
    document=_replay,
    shape=TenantWebhookReplay,
    faults=(WEBHOOK_REPLAY_NOT_FOUND,),
)
CANCEL_REPLAY: Final = Operation(
    name="cancel_webhook_replay",
    command="webhooks cancel-replay",
    method="POST",
    path=f"{_REPLAY}/cancel",
    scope="operate",
    tag=_TAG,
    text="Repeating it is harmless.",
    function=webhook_log.cancel_replay,
    document=_replay,
    shape=TenantWebhookReplay,
    faults=(WEBHOOK_REPLAY_NOT_FOUND,),
)

OPERATIONS: Final[tuple[Operation[Any], ...]] = (
    LIST,
    CREATE,
    SHOW,
    EDIT,
    PAUSE,
    ENABLE,
    DELETE,
    ROTATE,
    REVOKE_PREVIOUS,
    TEST,
    REPLAY,
    RESEAL,
    DELIVERIES,
    DELIVERY,
    RESEND,
    REPLAYS,
    SHOW_REPLAY,
    CANCEL_REPLAY,
)
