"""What is happening now, as operators read it."""

from typing import Annotated, Literal, TypedDict, get_args

from app.auth.keys import Mode
from app.documents.admin.amounts.refusals import RefusedCalls
from app.documents.admin.running.credentials import Credential
from app.documents.admin.running.dispatch import Queue
from app.documents.amounts.usage import OperatorUsageSums
from app.documents.fields import Moment
from app.documents.schema import keywords

DecisionKind = Literal[
    "unknown_requests",
    "credential_paused",
    "credential_removed",
    "polls_late",
    "dispatch_paused",
    "queue_waits",
    "price_below_cost",
    "limit_reached",
    "flood_of_refusals",
    "webhooks_late",
    "endpoints_failing",
]


class NeededDecision(TypedDict):
    """Something that needs a decision, or a look."""

    kind: Annotated[str, keywords(enum=list(get_args(DecisionKind)))]
    subject: Annotated[str, keywords("The tenant, credential or model that it is about; empty: none.")]
    count: Annotated[int, keywords("How many; of `price_below_cost`, the loss in micro-credits.")]
    since: Moment | None


class UsageOfHour(OperatorUsageSums):
    """The sums of one hour."""

    period: Annotated[str, keywords("When it began.")]


class Overview(TypedDict):
    """How everything stands now, in one mode."""

    mode: Mode
    at: Moment
    decisions: Annotated[list[NeededDecision], keywords("The most urgent first.")]
    unknown: Annotated[int, keywords("How many requests are unknown.")]
    unknown_since: Moment | None
    dispatch_paused_since: Moment | None
    queues: Annotated[list[Queue], keywords("Those with requests that are queued or in flight.")]
    credentials: list[Credential]
    today: Annotated[OperatorUsageSums, keywords("Today's sums (UTC).")]
    hours: Annotated[
        list[UsageOfHour], keywords("Of yesterday and today (UTC); hours without any are left out.")
    ]
    refused: Annotated[list[RefusedCalls], keywords("Refused most often in the last hour.")]
    webhooks_waiting: Annotated[
        int, keywords("Deliveries that wait for endpoints in use; many are not all counted.")
    ]
    webhooks_due_since: Annotated[
        Moment | None, keywords("When the first of these was or will be due; null where none waits.")
    ]
