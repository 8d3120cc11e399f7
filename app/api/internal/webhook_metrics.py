"""Metrics of webhooks: this process's attempts, and what waits at all servers."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Self

from prometheus_client.core import Metric
from sqlalchemy import Connection

from app.api.internal import families
from app.db.schema.webhook_states import EndpointState
from app.webhooks.deliveries import backlog
from app.webhooks.deliveries.backlog import Waiting
from app.webhooks.deliveries.delivery import Deliverer
from app.webhooks.deliveries.records import STOPS

_TOLD_APART: Final = frozenset({"410", "429"})


@dataclass(frozen=True, slots=True)
class WebhookNumbers:
    """What the database knows of webhooks, of all servers."""

    endpoints: Mapping[EndpointState, int]
    waiting: Mapping[str, Waiting]

    @classmethod
    def read(cls, connection: Connection) -> Self:
        """Returns the present numbers."""
        return cls(backlog.states(connection), backlog.waiting(connection))

    def collect(self, now_ms: int) -> Iterator[Metric]:
        """Yields their metrics."""
        endpoints, deliveries = families.WEBHOOK_ENDPOINTS.new(), families.WEBHOOKS_WAITING.new()
        late = families.WEBHOOKS_LATE.new()
        for state in EndpointState:
            endpoints.add_metric([state], self.endpoints[state])
        for name, one in self.waiting.items():
            deliveries.add_metric([name], one.deliveries)
            late.add_metric([name], 0 if one.due_ms is None else max(0, now_ms - one.due_ms) / 1000)
        yield from (endpoints, deliveries, late)


def of_process(deliverer: Deliverer) -> Iterator[Metric]:
    """Yields the metrics of what this process sent."""
    attempts = families.WEBHOOK_ATTEMPTS.new()
    by_class: Counter[str] = Counter()
    for outcome, count in deliverer.attempts.items():
        by_class[_class_of(outcome)] += count
    for name, count in sorted(by_class.items()):
        attempts.add_metric([name], count)
    yield attempts
    stopped = families.WEBHOOKS_STOPPED.new()
    for reason in STOPS:  # also those that were not met yet: increase() sees no first value
        stopped.add_metric([reason], deliverer.stopped[reason])
    yield stopped
    yield families.WEBHOOKS_UNDER_WAY.of(deliverer.under_way)


def _class_of(outcome: str) -> str:
    """Returns the class of a status such as 503, so that no receiver decides how many there are."""
    is_status = outcome.isdigit() and outcome not in _TOLD_APART
    return f"{outcome[0]}xx" if is_status else outcome
