"""Metrics of webhooks: this process's attempts, and what waits at all servers."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Self

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from sqlalchemy import Connection

from app.db.webhook_states import EndpointState
from app.webhooks import backlog
from app.webhooks.backlog import Waiting
from app.webhooks.delivery import Deliverer

_TOLD_APART: Final = frozenset({"410", "429"})


@dataclass(frozen=True, slots=True)
class WebhookNumbers:
    """What the database knows of webhooks, of all servers."""

    endpoints: Mapping[EndpointState, int]
    waiting: Mapping[EndpointState, Waiting]

    @classmethod
    def read(cls, connection: Connection) -> Self:
        """Returns the present numbers."""
        return cls(backlog.states(connection), backlog.waiting(connection))

    def collect(self, now_ms: int) -> Iterator[Metric]:
        """Yields their metrics."""
        endpoints = GaugeMetricFamily(
            "reelgate_webhook_endpoints", "Webhook endpoints of all tenants.", labels=["state"]
        )
        deliveries = GaugeMetricFamily(
            "reelgate_webhooks_waiting",
            f"Webhooks that wait, by the state of their endpoint; at most {backlog.MAX_COUNTED} are counted.",
            labels=["state"],
        )
        late = GaugeMetricFamily(
            "reelgate_webhooks_late_seconds",
            "For how long the first of them has been due.",
            labels=["state"],
        )
        for state in EndpointState:
            one = self.waiting[state]
            endpoints.add_metric([state], self.endpoints[state])
            deliveries.add_metric([state], one.deliveries)
            late.add_metric([state], 0 if one.due_ms is None else max(0, now_ms - one.due_ms) / 1000)
        yield from (endpoints, deliveries, late)


def of_process(deliverer: Deliverer) -> Iterator[Metric]:
    """Yields the metrics of what this process sent."""
    attempts = CounterMetricFamily(
        "reelgate_webhook_attempts",
        "Attempts to send webhooks: `delivered`, a class of status, or a class of error.",
        labels=["outcome"],
    )
    by_class: Counter[str] = Counter()
    for outcome, count in deliverer.attempts.items():
        by_class[_class_of(outcome)] += count
    for name, count in sorted(by_class.items()):
        attempts.add_metric([name], count)
    yield attempts
    stopped = CounterMetricFamily(
        "reelgate_webhook_endpoints_stopped",
        "Webhook endpoints that were disabled, by the reason.",
        labels=["reason"],
    )
    for reason, count in sorted(deliverer.stopped.items()):
        stopped.add_metric([reason], count)
    yield stopped
    yield GaugeMetricFamily(
        "reelgate_webhooks_under_way", "Webhooks that are being sent.", value=deliverer.under_way
    )


def _class_of(outcome: str) -> str:
    """Returns the class of a status such as 503, so that no receiver decides how many there are."""
    is_status = outcome.isdigit() and outcome not in _TOLD_APART
    return f"{outcome[0]}xx" if is_status else outcome
