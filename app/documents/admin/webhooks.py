"""Webhooks of all tenants, as operators read them: as their tenants do, with the tenant's name."""

from typing import Annotated, TypedDict

from app.documents.schema import keywords
from app.documents.webhook_deliveries import WebhookDelivery, WebhookDeliveryInFull, WebhookReplay
from app.documents.webhook_endpoints import EndpointId, Secret, WebhookEndpoint

TenantName = Annotated[str, keywords("The tenant's name; empty: the operator's own.")]


class TenantWebhookEndpoint(WebhookEndpoint):
    """A webhook endpoint, without its secret."""

    tenant: TenantName


class TenantWebhookEndpointWithSecret(TenantWebhookEndpoint):
    """A webhook endpoint that was made, or whose secret was rotated."""

    secret: Secret


class TenantWebhookEndpointPage(TypedDict):
    """A page of webhook endpoints, newest first."""

    endpoints: list[TenantWebhookEndpoint]
    next_cursor: str | None


class TenantWebhookDelivery(WebhookDelivery):
    """A delivery of a webhook."""

    tenant: TenantName


class TenantWebhookDeliveryInFull(WebhookDeliveryInFull):
    """A delivery of a webhook with its attempts, the oldest first, and the event as it is sent."""

    tenant: TenantName


class TenantWebhookDeliveryPage(TypedDict):
    """A page of deliveries, newest first."""

    deliveries: list[TenantWebhookDelivery]
    next_cursor: str | None


class TenantWebhookReplay(WebhookReplay):
    """A replay, with its progress."""

    tenant: TenantName


class TenantWebhookReplayPage(TypedDict):
    """A page of replays, newest first."""

    replays: list[TenantWebhookReplay]
    next_cursor: str | None


class ResealedSecrets(TypedDict):
    """What became of the secrets of webhook endpoints that were sealed with another key than the first."""

    resealed: Annotated[int, keywords("Of how many endpoints they are sealed with the first key now.")]
    unreadable: Annotated[list[EndpointId], keywords("The endpoints whose secret no key opens.")]
    last: Annotated[str | None, keywords("`after` of the next call; null: there are no more.")]
