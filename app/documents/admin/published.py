"""The shapes that the contract of the admin API publishes, each under the name of its class."""

from typing import Annotated, Any, Final

from app.documents.access.client_tokens import (
    Bound,
    ClientToken,
    ClientTokenInFull,
    ClientTokenPage,
    TokenRefusal,
)
from app.documents.access.portal import PortalLink
from app.documents.admin.access.keys import (
    AdminKey,
    AdminKeys,
    APIKey,
    APIKeyPage,
    CreatedAdminKey,
    CreatedAPIKey,
    RotatedAdminKey,
    RotatedAPIKey,
)
from app.documents.admin.access.tenants import Tenant, TenantInEffect, TenantPage
from app.documents.admin.amounts.ledger import (
    BillDifference,
    BillRule,
    EnteredEntry,
    EntryPage,
    ListedEntry,
    Reconciliation,
    Repricing,
    RepricingOfRequest,
    VerifiedLedger,
    WrongRow,
)
from app.documents.admin.amounts.limits import (
    AccountLimits,
    LimitOverride,
    LimitOverridePage,
    LimitPage,
    ListedLimit,
    SetLimit,
)
from app.documents.admin.amounts.refusals import RefusalCounts, RefusedCalls
from app.documents.admin.amounts.statements import (
    ClosedStatements,
    TenantStatement,
    TenantStatementInFull,
    TenantStatementPage,
    VerifiedStatements,
    WrongStatement,
)
from app.documents.admin.amounts.thresholds import CrossedThreshold, CrossedThresholdPage
from app.documents.admin.audit import (
    AuditActor,
    AuditBreak,
    AuditEntry,
    AuditExport,
    AuditHead,
    AuditLink,
    AuditPage,
    AuditSubject,
    AuditVerification,
)
from app.documents.admin.checks import Finding, Findings
from app.documents.admin.files import Erased, StoreFault, VerifiedStore
from app.documents.admin.running.credentials import Credential, Credentials
from app.documents.admin.running.dispatch import PausedDispatch, PausedSince, Queue, Queues
from app.documents.admin.running.models import PricedModel, PricedModels
from app.documents.admin.running.overview import NeededDecision, Overview, UsageOfHour
from app.documents.admin.running.processes import RunningProcess, RunningProcesses
from app.documents.admin.running.requests import (
    AdminEvent,
    AdminRequest,
    AdminRequestInFull,
    AdminRequestPage,
)
from app.documents.admin.running.settings import EffectiveSetting, EffectiveSettings
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
from app.documents.amounts.ledger import LedgerEntry
from app.documents.amounts.limits import Limit
from app.documents.amounts.usage import OperatorUsage, OperatorUsageRow, OperatorUsageSums
from app.documents.fields import Sums, Violation
from app.documents.problems import Problem, UpstreamWords
from app.documents.schema import CLOSED, Schema, components, keywords
from app.documents.webhook_deliveries import WebhookAttempt
from app.documents.webhook_endpoints import WebhookHealth
from app.documents.webhooks import (
    ConditionData,
    ConditionMessage,
    EndpointLinks,
    TenantEndpointData,
    TenantEndpointMessage,
)

_PUBLISHED: Final[tuple[Any, ...]] = (
    NeededDecision,
    UsageOfHour,
    Overview,
    TenantInEffect,
    Tenant,
    TenantPage,
    APIKey,
    APIKeyPage,
    CreatedAPIKey,
    RotatedAPIKey,
    PortalLink,
    Annotated[Bound, CLOSED, keywords(minProperties=1)],
    ClientToken,
    ClientTokenPage,
    TokenRefusal,
    ClientTokenInFull,
    Sums,
    SetLimit,
    ListedLimit,
    LimitPage,
    AccountLimits,
    LimitOverride,
    LimitOverridePage,
    AdminKey,
    AdminKeys,
    CreatedAdminKey,
    RotatedAdminKey,
    AuditActor,
    AuditSubject,
    AuditEntry,
    AuditPage,
    AuditLink,
    AuditExport,
    AuditHead,
    AuditBreak,
    AuditVerification,
    RefusedCalls,
    RefusalCounts,
    AdminRequest,
    AdminRequestPage,
    AdminEvent,
    AdminRequestInFull,
    ListedEntry,
    EntryPage,
    EnteredEntry,
    WrongRow,
    VerifiedLedger,
    RepricingOfRequest,
    Repricing,
    BillDifference,
    BillRule,
    Reconciliation,
    OperatorUsageSums,
    OperatorUsageRow,
    OperatorUsage,
    LedgerEntry,
    TenantStatement,
    TenantStatementPage,
    TenantStatementInFull,
    ClosedStatements,
    WrongStatement,
    VerifiedStatements,
    CrossedThreshold,
    CrossedThresholdPage,
    WebhookHealth,
    TenantWebhookEndpoint,
    TenantWebhookEndpointWithSecret,
    TenantWebhookEndpointPage,
    WebhookAttempt,
    TenantWebhookDelivery,
    TenantWebhookDeliveryInFull,
    TenantWebhookDeliveryPage,
    TenantWebhookReplay,
    TenantWebhookReplayPage,
    ResealedSecrets,
    EndpointLinks,
    TenantEndpointData,
    TenantEndpointMessage,
    ConditionData,
    ConditionMessage,
    PausedSince,
    PausedDispatch,
    Queue,
    Queues,
    Credential,
    Credentials,
    PricedModel,
    PricedModels,
    Finding,
    Findings,
    EffectiveSetting,
    EffectiveSettings,
    StoreFault,
    VerifiedStore,
    Erased,
    RunningProcess,
    RunningProcesses,
    Violation,
    Limit,
    UpstreamWords,
    Annotated[Problem, keywords("A problem document (RFC 9457).")],
)

SCHEMAS: Final[dict[str, Schema]] = components(_PUBLISHED)
"""The `components.schemas` of the admin API's contract."""
