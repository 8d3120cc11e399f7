"""The metrics: what each is called, counts and means. `make docs` makes the table of them from this.

To add one: declare it here, and yield it in `collectors`; a test compares the two. The values of labels are
bounded: by the code, the configuration or the catalogue. Tenants are shown where the operator asks for them.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily


class Source(StrEnum):
    """Where the numbers are from, which says how they are added up across servers."""

    PROCESS = "process"
    """This process alone knows: sum them over all servers and workers."""
    ROWS = "rows"
    """The database, for all servers alike: take the maximum over them, never the sum."""


_KINDS: Final[dict[str, Any]] = {
    "gauge": GaugeMetricFamily,
    "counter": CounterMetricFamily,
    "histogram": HistogramMetricFamily,
}


@dataclass(frozen=True, slots=True)
class Family:
    """One metric; the name of a counter is without `_total`."""

    name: str
    kind: str
    text: str
    labels: tuple[str, ...] = ()
    source: Source = Source.PROCESS

    def new(self) -> Any:
        """Returns it in the library's form, without values."""
        return _KINDS[self.kind](self.name, self.text, labels=self.labels)

    def of(self, value: float) -> Any:
        """Returns it with one value, without labels."""
        family = self.new()
        family.add_metric([], value)
        return family

    @property
    def published(self) -> str:
        """The name in queries."""
        return f"{self.name}_total" if self.kind == "counter" else self.name


def _rows(name: str, kind: str, text: str, *labels: str) -> Family:
    return Family(name, kind, text, labels, Source.ROWS)


# Calls
CALLS: Final = Family(
    "reelgate_http_requests",
    "counter",
    "Calls that were answered, by the template of the route, the status, and the code of the error or `ok`.",
    ("method", "route", "status", "code"),
)
CALL_TIMES: Final = Family(
    "reelgate_http_request_duration_seconds",
    "histogram",
    "How long calls took. Streams, and answers that callers asked to be held, are not in it.",
    ("method", "route"),
)
REFUSALS: Final = Family(
    "reelgate_refusals", "counter", "Calls that were answered with an error, by its code.", ("code",)
)
TENANT_REFUSALS: Final = Family(
    "reelgate_tenant_refusals",
    "counter",
    "Calls with a tenant's keys that were answered with an error, by its code.",
    ("mode", "tenant", "code"),
)
THRESHOLDS: Final = Family(
    "reelgate_thresholds_crossed", "counter", "Thresholds of limits that submits crossed.", ("percent",)
)
WATCHERS: Final = Family("reelgate_watchers", "gauge", "Open event streams and long polls.")
LARGE_BODIES: Final = Family(
    "reelgate_large_bodies_bytes",
    "gauge",
    "Size of the bodies with files by value that are being worked on.",
)
RECENT_ROWS: Final = Family(
    "reelgate_recent_rows_bytes", "gauge", "Size of the requests that were read in the last second."
)
# Requests
SUBMITS: Final = Family(
    "reelgate_submits",
    "counter",
    "Submits that were sent to RunComfy, by what its answer proves: accepted, rejected, unknown, not_sent …",
    ("mode", "verdict"),
)
STATES: Final = Family(
    "reelgate_requests_entered",
    "counter",
    "Requests that this process brought into a state, by model.",
    ("mode", "model", "state"),
)
UNDER_WAY: Final = Family("reelgate_tasks", "gauge", "Tasks in progress: submits, polls and others.")
DISPATCHES: Final = Family("reelgate_dispatches_under_way", "gauge", "Queued requests that are being sent.")
POLLS: Final = Family("reelgate_polls_under_way", "gauge", "Background polls in progress.", ("credential",))
POLL_LAG: Final = Family(
    "reelgate_poll_lag_seconds",
    "gauge",
    "Delay of the most overdue poll that the last tick found; 0 where no loops run.",
    ("credential",),
)
UNKNOWN: Final = _rows("reelgate_unknown", "gauge", "Unknown requests of all tenants.", "mode")
UNKNOWN_OLDEST: Final = _rows(
    "reelgate_unknown_oldest_seconds", "gauge", "Time since the first of them became unknown.", "mode"
)
QUEUED: Final = _rows("reelgate_queued", "gauge", "Queued requests of all tenants.", "mode")
QUEUED_OLDEST: Final = _rows(
    "reelgate_queued_oldest_seconds", "gauge", "Age of the oldest queued request.", "mode"
)
PAUSED: Final = _rows(
    "reelgate_dispatch_paused", "gauge", "1 while the operator has paused dispatch.", "mode"
)
TENANT_QUEUED: Final = _rows(
    "reelgate_tenant_queued", "gauge", "Queued requests of a tenant.", "mode", "tenant"
)
TENANT_SHARE: Final = _rows(
    "reelgate_tenant_share",
    "gauge",
    "A tenant's share of what is sent while the present queues last, from 0 to 1.",
    "mode",
    "tenant",
)
TENANT_DISPATCHED: Final = _rows(
    "reelgate_tenant_dispatched", "counter", "Queued requests of a tenant that were sent.", "mode", "tenant"
)
# Money
HELD: Final = _rows("reelgate_held_credits", "gauge", "Credits that are held now, for all tenants.", "mode")
SPENT: Final = _rows(
    "reelgate_spent_credits", "gauge", "Credits that all tenants have spent, in all.", "mode"
)
WEEK: Final = _rows(
    "reelgate_week_credits",
    "gauge",
    "Credits entered in the ledger in the last 7 days: held, spent, refunded or adjusted.",
    "mode",
    "entry",
)
WEEK_COST: Final = _rows(
    "reelgate_week_cost_usd",
    "gauge",
    "What RunComfy reported as the cost of jobs that ended in the last 7 days.",
    "mode",
)
WEEK_MARGIN: Final = _rows(
    "reelgate_week_margin_usd",
    "gauge",
    "What was charged in the last 7 days, at one dollar a credit, less that cost.",
    "mode",
)
BELOW_COST: Final = _rows(
    "reelgate_models_below_cost",
    "gauge",
    "Models that were charged less than RunComfy's cost in the last 7 days.",
)
# RunComfy
CONDITION: Final = Family(
    "reelgate_credential_condition",
    "gauge",
    "1 for the present condition: closed (in use), open (not used) or half_open (being tried).",
    ("credential", "condition"),
)
REFUSED: Final = Family(
    "reelgate_credential_refused",
    "gauge",
    "1 while a credential is paused because RunComfy refuses it: its token, its rights or its balance.",
    ("credential",),
)
FAILURES: Final = Family(
    "reelgate_credential_failures", "gauge", "Consecutive calls without an answer.", ("credential",)
)
CAPACITY: Final = Family(
    "reelgate_credential_capacity",
    "gauge",
    "Maximum number of jobs in flight, as configured or learnt.",
    ("credential",),
)
UPSTREAM_CALLS: Final = Family(
    "reelgate_upstream_requests",
    "counter",
    "Calls to RunComfy, by what was asked and the status of the answer, or `none`.",
    ("credential", "call", "status"),
)
UPSTREAM_TIMES: Final = Family(
    "reelgate_upstream_request_duration_seconds",
    "histogram",
    "How long calls to RunComfy took.",
    ("credential", "call"),
)
CLOCK_SKEW: Final = Family(
    "reelgate_clock_skew_seconds",
    "gauge",
    "How far this machine's clock is ahead of RunComfy's, by the date of a recent answer, in whole seconds.",
    ("credential",),
)
# Webhooks
WEBHOOK_ATTEMPTS: Final = Family(
    "reelgate_webhook_attempts",
    "counter",
    "Attempts to send webhooks: `delivered`, a class of status, or a class of error.",
    ("outcome",),
)
WEBHOOKS_STOPPED: Final = Family(
    "reelgate_webhook_endpoints_stopped",
    "counter",
    "Webhook endpoints that were disabled, by the reason.",
    ("reason",),
)
WEBHOOKS_UNDER_WAY: Final = Family("reelgate_webhooks_under_way", "gauge", "Webhooks that are being sent.")
WEBHOOK_ENDPOINTS: Final = _rows(
    "reelgate_webhook_endpoints", "gauge", "Webhook endpoints of all tenants.", "state"
)
WEBHOOKS_WAITING: Final = _rows(
    "reelgate_webhooks_waiting",
    "gauge",
    "Webhooks that wait, by the state of their endpoint (`failing`: it is enabled, and failed last); at most"
    " 10,000 are counted.",
    "state",
)
WEBHOOKS_LATE: Final = _rows(
    "reelgate_webhooks_late_seconds", "gauge", "For how long the first of them has been due.", "state"
)
# Mirror
ASSET_ATTEMPTS: Final = Family(
    "reelgate_asset_attempts",
    "counter",
    "Attempts to copy outputs: `stored`, or the class of an error.",
    ("outcome",),
)
ASSET_BYTES: Final = Family("reelgate_asset_copied_bytes", "counter", "Bytes of outputs that were copied.")
ASSETS_UNDER_WAY: Final = Family(
    "reelgate_assets_under_way", "gauge", "Files of outputs that are being copied."
)
ASSETS_WAITING: Final = _rows(
    "reelgate_assets_waiting", "gauge", "Files of outputs that wait to be copied; at most 10,000 are counted."
)
ASSETS_LATE: Final = _rows(
    "reelgate_assets_late_seconds", "gauge", "For how long the first of them has been due."
)
# Database, process
DATABASE_TIMES: Final = Family(
    "reelgate_database_duration_seconds",
    "histogram",
    "How long a read or a write took its caller, with the wait for a connection and the commit.",
    ("kind",),
)
DATABASE_FAILURES: Final = Family(
    "reelgate_database_failures",
    "counter",
    "Reads and writes that the database did not serve.",
    ("kind", "reason"),
)
DATABASE_UP: Final = Family(
    "reelgate_database_up", "gauge", "1 where the database could be read for these metrics, else 0."
)
LOOP_FAILURES: Final = Family(
    "reelgate_loop_failures", "counter", "Ticks of a background loop that ended with an error.", ("loop",)
)
LOOP_AGE: Final = Family(
    "reelgate_loop_last_success_age_seconds",
    "gauge",
    "Time since the last tick of a background loop that went well.",
    ("loop",),
)
LOG_DROPPED: Final = Family(
    "reelgate_log_lines_dropped",
    "counter",
    "Lines of the log that were lost: it could not be written, or not as fast.",
)
LOG_BUFFERED: Final = Family(
    "reelgate_log_buffered_bytes", "gauge", "Size of the lines that are not written yet."
)
DISK_FREE: Final = Family(
    "reelgate_data_free_bytes", "gauge", "Free space of the file system with the data folder."
)
DISK_SIZE: Final = Family(
    "reelgate_data_size_bytes", "gauge", "Size of the file system with the data folder."
)
SPOOLED: Final = Family(
    "reelgate_spool_bytes",
    "gauge",
    "Size of the spool: ids of RunComfy's that the database did not take at once.",
)
AUDIT: Final = _rows(
    "reelgate_audit_entries", "gauge", "Number of the last entry of the audit log. It never falls."
)
BUILD: Final = Family(
    "reelgate_build_info", "gauge", "1, with what runs here.", ("version", "python", "database", "revision")
)

FAMILIES: Final = tuple(one for one in list(globals().values()) if isinstance(one, Family))
"""All of them, in the order above."""
TENANTS_ONLY: Final = (TENANT_REFUSALS, TENANT_QUEUED, TENANT_SHARE, TENANT_DISPATCHED)
"""Those with a tenant as a label, which are published for the busiest tenants, where that is asked for."""
