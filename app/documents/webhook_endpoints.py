"""Endpoints of webhooks, as their owners and operators read them. A secret is in one answer alone."""

from collections.abc import Sequence
from typing import Annotated, TypedDict

from app.auth.keys import Mode
from app.db.schema.webhook_states import EndpointState
from app.documents.fields import Moment, iso_or_none
from app.documents.schema import keywords
from app.kit.clock import iso
from app.webhooks.registry.endpoints import Endpoint
from app.webhooks.registry.rotation import DEFAULT_GRACE_S, MAX_GRACE_S
from app.webhooks.registry.secrets import Scheme

EndpointId = Annotated[str, keywords("The id of a webhook endpoint, which begins with `ep_`.")]
EventTypes = Annotated[
    list[str] | None,
    keywords(
        "The types of events that are sent to it; null: all, also those that a later version adds. If empty,"
        " only events of requests whose submit names the endpoint (`Reelgate-Webhook`)."
    ),
]
Secret = Annotated[
    str | None,
    keywords(
        "What its receiver verifies with: `whsec_…` of `v1`. It is shown once: null where this repeats an"
        " earlier answer. With `v1a` there is no shared secret, and it is null: see `public_keys`."
    ),
]


class WebhookHealth(TypedDict):
    """How sending to an endpoint goes."""

    failing_since: Annotated[
        Moment | None, keywords("The first failure since the last success; null: the last one succeeded.")
    ]
    state_since: Moment
    state_reason: Annotated[str | None, keywords("Why it is `disabled` or `gone`.")]


class WebhookEndpoint(TypedDict):
    """An address of a tenant's that is told of events, without its secret."""

    endpoint_id: EndpointId
    mode: Mode
    url: str
    description: str
    events: EventTypes
    vendor_links: Annotated[bool, keywords("Whether it is told RunComfy's own links to outputs.")]
    state: Annotated[
        str,
        keywords(
            "`paused` by its owner, `disabled` after days of failures, `gone` after it answered 410 twice.",
            enum=[*EndpointState],
        ),
    ]
    health: WebhookHealth
    signature: Annotated[Scheme, keywords("`v1`: HMAC-SHA256 with a shared secret; `v1a`: Ed25519.")]
    public_keys: Annotated[
        list[str],
        keywords("Of `v1a`: `whpk_…`, the present one first, then the previous one while it counts."),
    ]
    previous_secret_ends_at: Annotated[
        Moment | None,
        keywords("Until when messages are signed with the secret before the last rotation too; null: not."),
    ]
    created_at: Moment
    changed_at: Moment


class WebhookEndpointPage(TypedDict):
    """A page of webhook endpoints, newest first."""

    endpoints: list[WebhookEndpoint]
    next_cursor: str | None


class WebhookEndpointWithSecret(WebhookEndpoint):
    """A webhook endpoint that was made, or whose secret was rotated."""

    secret: Secret


class DeletedWebhookEndpoint(TypedDict):
    """A webhook endpoint that was deleted."""

    endpoint_id: EndpointId


class WebhookEndpointTerms(TypedDict, total=False):
    """The body of a request for a webhook endpoint, or of an edit of one; `api.v1.webhooks` parses it."""

    url: Annotated[str, keywords("Where events are sent to, by POST: an https:// URL.", maxLength=2048)]
    description: Annotated[str, keywords("A note for its owner.", maxLength=200)]
    events: EventTypes
    vendor_links: Annotated[
        bool, keywords("Whether events name RunComfy's own links to outputs.", default=False)
    ]


class NewWebhookEndpoint(WebhookEndpointTerms, total=False):
    """The body of a request for a webhook endpoint."""

    signature: Annotated[Scheme, keywords("How its messages are signed.", default="v1")]


class WebhookRotation(TypedDict, total=False):
    """The body of a request for a new secret."""

    grace_s: Annotated[
        int,
        keywords(
            "For how many seconds messages are signed with the old secret too, behind the new one.",
            minimum=0,
            maximum=MAX_GRACE_S,
            default=DEFAULT_GRACE_S,
        ),
    ]
    force: Annotated[
        bool, keywords("Whether to end the grace of the rotation before, if that is open.", default=False)
    ]


def endpoint(one: Endpoint, public_keys: Sequence[str], now_ms: int) -> WebhookEndpoint:
    """Returns the document of an endpoint, whose public keys, of `v1a`, are given."""
    return {
        "endpoint_id": one.id,
        "mode": one.mode,
        "url": one.terms.url,
        "description": one.terms.description,
        "events": None if one.terms.events is None else [*one.terms.events],
        "vendor_links": one.terms.vendor_links,
        "state": one.state,
        "health": {
            "failing_since": iso_or_none(one.failing_since_ms),
            "state_since": iso(one.state_since_ms),
            "state_reason": one.state_reason,
        },
        "signature": one.signature,
        "public_keys": [*public_keys],
        "previous_secret_ends_at": iso_or_none(one.rotation_ends_at_ms(now_ms)),
        "created_at": iso(one.created_at_ms),
        "changed_at": iso(one.changed_at_ms),
    }
