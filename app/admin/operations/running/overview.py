"""The operation on what is happening now."""

from typing import Final

from app.admin.operation import Operation
from app.admin.operations.running.credentials import credential_document
from app.admin.operations.running.dispatch import queue_document
from app.admin.running import overview as cases
from app.admin.running.overview import Overview
from app.admin.session import AdminGateway
from app.documents.admin.amounts.refusals import refused_calls
from app.documents.admin.running.overview import Overview as OverviewDocument
from app.documents.amounts.usage import operator_sums
from app.documents.fields import iso_or_none
from app.generations.queue import backlog
from app.kit.clock import iso


def _document(_gateway: AdminGateway, found: Overview) -> OverviewDocument:
    return {
        "mode": found.mode,
        "at": iso(found.now_ms),
        "decisions": [
            {"kind": one.kind, "subject": one.subject, "count": one.count, "since": iso_or_none(one.since_ms)}
            for one in found.decisions
        ],
        "unknown": found.unknown,
        "unknown_since": iso_or_none(found.unknown_since_ms),
        "dispatch_paused_since": iso_or_none(found.paused_since_ms),
        "queues": [
            queue_document(one, backlog.share(one, found.queues))
            for one in found.queues
            if one.queued or one.in_flight
        ],
        "credentials": [credential_document(one) for one in found.credentials],
        "today": operator_sums(found.today),
        "hours": [{"period": iso(int(one.key[0])), **operator_sums(one.counts)} for one in found.hours],
        "refused": [refused_calls(one, found.tenants.get(one.tenant_id)) for one in found.refused],
        "webhooks_waiting": found.webhooks.deliveries,
        "webhooks_due_since": iso_or_none(found.webhooks.due_ms),
    }


SHOW: Final = Operation(
    name="get_overview",
    command="overview",
    method="GET",
    path="/admin/v1/overview",
    scope="read",
    tag="system",
    text="In one answer, by a fixed number of statements: made for a page that asks every few seconds.",
    function=cases.show,
    document=_document,
    shape=OverviewDocument,
)

OPERATIONS: Final = (SHOW,)
