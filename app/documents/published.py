"""The shapes that the contract publishes, in its order, each under the name of its class."""

from typing import Annotated, Any, Final

from app.documents.access.account import (
    NarrowedAPIKey,
    NewAPIKey,
    RotationOfKey,
    WebOrigins,
)
from app.documents.access.client_tokens import (
    Bound,
    ClientToken,
    ClientTokenInFull,
    ClientTokenPage,
    ClientTokenTerms,
    MintedClientToken,
    TokenRefusal,
)
from app.documents.access.portal import PortalLink, PortalLinkTerms
from app.documents.admin.access.keys import APIKey, APIKeyPage, CreatedAPIKey, RotatedAPIKey
from app.documents.amounts.ledger import LedgerEntry, LedgerPage
from app.documents.amounts.limits import Limit
from app.documents.amounts.quota import PeriodUsage, Queue, Quota, Quote, QuoteRefusal
from app.documents.amounts.refusals import RefusalCounts, RefusedCalls
from app.documents.amounts.statements import StatementInFull, StatementPage, StatementSummary
from app.documents.amounts.usage import Usage, UsageRow, UsageSums
from app.documents.fields import Sums, Violation
from app.documents.generations.assets import Asset, AssetList
from app.documents.generations.events import EndedAsset, Event, RecordedEvent, StoppedEndpoint, Threshold
from app.documents.generations.files import DirectUpload, FileLink, UploadedFile, UploadedFilePage
from app.documents.generations.models import (
    ListedModel,
    MediaInputNote,
    MediaRuleNote,
    Model,
    ModelCategories,
    ModelPage,
    ModelWarning,
)
from app.documents.generations.requests import (
    Cancelled,
    File,
    FileError,
    Request,
    RequestPage,
    RequestSummary,
    Result,
    Status,
    Submitted,
)
from app.documents.problems import Problem, ProblemKind, ProblemKinds, UpstreamWords
from app.documents.schema import CLOSED, Schema, components, keywords
from app.documents.service import Health
from app.documents.webhook_deliveries import (
    NewWebhookReplay,
    WebhookAttempt,
    WebhookDelivery,
    WebhookDeliveryInFull,
    WebhookDeliveryPage,
    WebhookMessage,
    WebhookMessages,
    WebhookReplay,
    WebhookReplayPage,
)
from app.documents.webhook_endpoints import (
    DeletedWebhookEndpoint,
    NewWebhookEndpoint,
    WebhookEndpoint,
    WebhookEndpointPage,
    WebhookEndpointTerms,
    WebhookEndpointWithSecret,
    WebhookHealth,
    WebhookRotation,
)
from app.documents.webhooks import (
    AssetData,
    AssetLinks,
    AssetMessage,
    EndpointData,
    EndpointLinks,
    EndpointMessage,
    QuotaLinks,
    RequestData,
    RequestLinks,
    RequestMessage,
    StatementData,
    StatementLinks,
    StatementMessage,
    TestData,
    TestMessage,
    ThresholdData,
    ThresholdMessage,
)
from app.generations.lifecycle import State

_PUBLISHED: Final[tuple[Any, ...]] = (
    Annotated[State, keywords("The state of a request, in more detail than RunComfy's status.")],
    Submitted,
    Status,
    Result,
    Cancelled,
    RequestSummary,
    RequestPage,
    Request,
    Asset,
    AssetList,
    RecordedEvent,
    Annotated[Model, keywords("One model of the catalogue, in RunComfy's shape with additions.")],
    Annotated[ListedModel, keywords("One model in a list, as in RunComfy's.")],
    ModelPage,
    ModelCategories,
    ModelWarning,
    MediaRuleNote,
    MediaInputNote,
    Limit,
    Annotated[File, keywords("What the gateway knows of a file of the input.")],
    FileError,
    UploadedFile,
    UploadedFilePage,
    DirectUpload,
    FileLink,
    Violation,
    Sums,
    PeriodUsage,
    Queue,
    Quota,
    QuoteRefusal,
    Quote,
    RefusedCalls,
    RefusalCounts,
    UsageSums,
    UsageRow,
    Usage,
    LedgerEntry,
    LedgerPage,
    StatementSummary,
    StatementPage,
    StatementInFull,
    Annotated[Bound, CLOSED, keywords(minProperties=1)],
    Annotated[ClientTokenTerms, CLOSED],
    ClientToken,
    MintedClientToken,
    ClientTokenPage,
    TokenRefusal,
    ClientTokenInFull,
    Annotated[WebhookEndpointTerms, CLOSED],
    Annotated[NewWebhookEndpoint, CLOSED],
    WebhookHealth,
    WebhookEndpoint,
    WebhookEndpointWithSecret,
    WebhookEndpointPage,
    DeletedWebhookEndpoint,
    Annotated[WebhookRotation, CLOSED],
    WebhookDelivery,
    WebhookAttempt,
    WebhookDeliveryInFull,
    WebhookDeliveryPage,
    WebhookMessage,
    WebhookMessages,
    Annotated[NewWebhookReplay, CLOSED],
    WebhookReplay,
    WebhookReplayPage,
    RequestLinks,
    RequestData,
    RequestMessage,
    AssetLinks,
    AssetData,
    AssetMessage,
    QuotaLinks,
    ThresholdData,
    ThresholdMessage,
    StatementLinks,
    StatementData,
    StatementMessage,
    EndpointLinks,
    EndpointData,
    EndpointMessage,
    TestData,
    TestMessage,
    APIKey,
    APIKeyPage,
    CreatedAPIKey,
    RotatedAPIKey,
    Annotated[NewAPIKey, CLOSED],
    Annotated[NarrowedAPIKey, CLOSED],
    Annotated[RotationOfKey, CLOSED],
    WebOrigins,
    Annotated[PortalLinkTerms, CLOSED],
    PortalLink,
    Event,
    Threshold,
    EndedAsset,
    StoppedEndpoint,
    Health,
    ProblemKind,
    ProblemKinds,
    UpstreamWords,
    Annotated[Problem, keywords("A problem document (RFC 9457).")],
)

SCHEMAS: Final[dict[str, Schema]] = components(_PUBLISHED)
"""The contract's `components.schemas`."""
