"""The messages of webhooks, as receivers read them.

`app.webhooks.messages.bodies` and `app.generations.messages` fill them.
"""

from typing import Annotated, Any, Literal, NotRequired, TypedDict

from app.auth.keys import Mode
from app.db.schema.asset_states import ENDED
from app.documents.fields import EventNumber, Id, Moment, StatusName
from app.documents.schema import keywords
from app.generations.lifecycle import State
from app.quotas.balances.ledger import Charge

Version = Annotated[
    int, keywords("The version of the message's shape. Members may be added to a version, never removed.")
]
Link = Annotated[str, keywords("Relative to the gateway's address.", format="uri-reference")]


class RequestLinks(TypedDict):
    """Our own routes for a request."""

    request: Link
    status: Link
    result: Link


class RequestData(TypedDict):
    """A request at the moment of its event."""

    request_id: Id
    event_number: EventNumber
    request_version: Annotated[int, keywords("The request's version since this event: 1, 2, 3 …")]
    state: State
    status: Annotated[StatusName, keywords("The status as RunComfy names it.")]
    reason: str
    error_code: Annotated[str | None, keywords("The code of the error that it ended with, if it has one.")]
    model_id: str
    mode: Mode
    kid: Annotated[str, keywords("The API key that made it.")]
    token_id: str | None
    end_user: str | None
    idempotency_key: str | None
    charge: Annotated[Charge | None, keywords("What became of its price: held, settled or refunded.")]
    price_microcredits: int | None
    output_seconds: int
    created_at: Moment
    finished_at: Moment | None
    links: RequestLinks
    output: NotRequired[
        Annotated[
            dict[str, Any] | None,
            keywords(
                "RunComfy's output with RunComfy's own links, for endpoints that chose `vendor_links`;"
                " null: none, or too large for a message."
            ),
        ]
    ]


class RequestMessage(TypedDict):
    """`request.completed`, `.failed`, `.cancelled`, `.unknown` or `.resolved`."""

    type: Literal[
        "request.completed", "request.failed", "request.cancelled", "request.unknown", "request.resolved"
    ]
    timestamp: Moment
    version: Version
    data: RequestData


class QuotaLinks(TypedDict):
    """Our own route for limits and usage."""

    quota: Link


class ThresholdData(TypedDict):
    """A threshold of a budget or balance that a submit crossed."""

    event_number: EventNumber
    mode: Mode
    policy: Annotated[str, keywords("The limit's name, such as `key-credits-day`.")]
    kid: str | None
    model_id: str | None
    end_user: str | None
    period: Annotated[str, keywords("The day, the month, or `total`.")]
    percent: int
    amount: Annotated[int, keywords("Of credits: in micro-credits.")]
    used: Annotated[int, keywords("What is held and spent.")]
    links: QuotaLinks


class ThresholdMessage(TypedDict):
    """`quota.threshold`."""

    type: Literal["quota.threshold"]
    timestamp: Moment
    version: Version
    data: ThresholdData


class AssetLinks(TypedDict):
    """Our own routes for the copy of an output's file, and for its request."""

    request: Link
    assets: Link
    asset: Link


class AssetData(TypedDict):
    """A copy of an output's file that was stored, given up, or removed."""

    asset_id: str
    request_id: Id
    event_number: EventNumber
    pointer: Annotated[str, keywords("The file's place in the output, as a JSON pointer.")]
    state: Annotated[str, keywords(enum=[str(one) for one in ENDED])]
    reason: Annotated[
        str,
        keywords(
            "`copied`; of `failed` and `gone`, the class of the error; of `expired`, `retention` or"
            " `deleted`."
        ),
    ]
    mode: Mode
    media_type: str | None
    size_bytes: int | None
    sha256: str | None
    expires_at: Annotated[Moment | None, keywords("When the copy is removed; null: never, or there is none.")]
    links: AssetLinks


class AssetMessage(TypedDict):
    """`asset.stored`, `.failed` or `.expired`."""

    type: Literal["asset.stored", "asset.failed", "asset.expired"]
    timestamp: Moment
    version: Version
    data: AssetData


class StatementLinks(TypedDict):
    """Our own route for a statement."""

    statement: Link


class StatementData(TypedDict):
    """A month that was closed."""

    mode: Mode
    month: str
    entries: int
    opening_microcredits: int
    closing_microcredits: int
    links: StatementLinks


class StatementMessage(TypedDict):
    """`statement.closed`."""

    type: Literal["statement.closed"]
    timestamp: Moment
    version: Version
    data: StatementData


class EndpointLinks(TypedDict):
    """Our own route for an endpoint."""

    endpoint: Link


class EndpointData(TypedDict):
    """An endpoint to which nothing is sent any more."""

    endpoint_id: str
    mode: Mode
    url: str
    state: Literal["disabled", "gone"]
    reason: Literal["failing", "gone", "secret_unreadable"]
    links: EndpointLinks


class EndpointMessage(TypedDict):
    """`endpoint.disabled`: for the tenant's other endpoints, and the operator."""

    type: Literal["endpoint.disabled"]
    timestamp: Moment
    version: Version
    data: EndpointData


class TenantEndpointData(EndpointData):
    """An endpoint of a tenant to which nothing is sent any more."""

    tenant_id: str


class TenantEndpointMessage(TypedDict):
    """`endpoint.disabled`, for the operator."""

    type: Literal["endpoint.disabled"]
    timestamp: Moment
    version: Version
    data: TenantEndpointData


class TestData(TypedDict):
    """The endpoint that a test was sent to."""

    endpoint_id: str
    mode: Mode
    links: EndpointLinks


class TestMessage(TypedDict):
    """`webhook.test`: for the endpoint alone whose owner asked for it."""

    type: Literal["webhook.test"]
    timestamp: Moment
    version: Version
    data: TestData


class ConditionData(TypedDict):
    """A condition of the whole gateway."""

    condition: Annotated[str, keywords("Its name, such as `credential_refused`.")]
    subject: Annotated[str, keywords("What it is about, such as a credential; may be empty.")]
    since: Moment
    changes: Annotated[int, keywords("How often it has been raised or cleared: a later change has more.")]
    details: dict[str, Any]


class ConditionMessage(TypedDict):
    """`condition.raised` or `condition.cleared`: for the operator's own endpoint alone."""

    type: Literal["condition.raised", "condition.cleared"]
    timestamp: Moment
    version: Version
    data: ConditionData
