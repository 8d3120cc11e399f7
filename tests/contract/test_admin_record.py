"""What the operator sees of a request: everything that is stored of it, but what is named here."""

from dataclasses import fields

from app.documents.admin.running.requests import AdminRequestInFull
from app.generations.store import Generation

NOT_SHOWN = {
    "media_text",
    "queue_position",
    "fingerprint",
    "stale_reason",
    "missing_since_ms",
    "started_at_ms",
    "finished_at_ms",
    "lease_until_ms",
    "next_poll_at_ms",
    "erased_at_ms",
    "root_kid",
    "quota_day",
    "ticket",
    "returns",
    "sent_at_ms",
    "start_deadline_ms",
    "webhook_endpoint_id",
    "mirror",
    "mirror_keep_s",
    "starts_at_ms",
}
"""Columns without a member of their own: what the gateway works with, and what stands in another member."""
CALLED = {
    "id": "request_id",
    "input_text": "input",
    "output_text": "output",
    "error_text": "error",
    "evidence_text": "evidence",
    "created_at_ms": "created_at",
    "changed_at_ms": "changed_at",
    "polled_at_ms": "checked_at",
}
"""Columns whose member has another name."""


def test_the_operator_is_shown_every_field_of_a_request_or_it_is_named_here() -> None:
    members = AdminRequestInFull.__annotations__
    names = [one.name for one in fields(Generation)]
    assert {one for one in names if CALLED.get(one, one) not in members} == NOT_SHOWN
    assert set(CALLED) <= set(names)
