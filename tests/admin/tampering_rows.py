"""What somebody with a database shell could do to requests, histories and keys, and what must find it."""

from tests.admin.tampering import changed, found_by, removed, row_changed

_SUM = "usage-is-not-the-sum-of-the-rows"
_LINE = "key-is-not-of-its-line"
_OWNER = "key-is-not-its-tenants"
_DAY = "quota-day-is-not-when-it-was-made"
_MOVE = "history-has-an-impossible-move"
_TIMES = "times-are-not-its-events"
_TERMS = "terms-are-incomplete"


def _event_changed(name: str, version: int, what: str) -> str:
    return changed("generation_events", what, f"generation_id = :{name} AND version = {version}")


def _event_added(name: str, version: int, state: str) -> str:
    return (
        "INSERT INTO generation_events"  # noqa: S608
        " (generation_id, version, state, at_ms, reason, tenant_id, mode, number)"
        f" SELECT id, {version}, '{state}', changed_at_ms, 'x', tenant_id, mode, 1000"
        f" FROM generations WHERE id = :{name}"
    )


def _key_changed(name: str, what: str) -> str:
    return changed("api_keys", what, f"kid = :{name}")


_TOKEN = "client-token-is-not-its-makers"
_SPACE = "idempotency-key-is-another-callers"
_BUDGET = "client-token-spent-too-much"


def _token_changed(name: str, what: str) -> str:
    return changed("client_tokens", what, f"token_id = :{name}")


TOKENS = {
    "a request is of no token": found_by(_TOKEN, "of_a_page", row_changed("of_a_page", "token_id = 'none'")),
    "a request is of another key's token": found_by(
        _TOKEN, "of_a_page", row_changed("of_a_page", "token_id = :token_2")
    ),
    "a request is for another user": found_by(
        _TOKEN, "of_a_page", row_changed("of_a_page", "end_user = 'user-2'")
    ),
    "what was for another user counts for this one": found_by(
        _SUM, "user-1", row_changed("of_a_page", "end_user = 'user-2'")
    ),
    "a request has a user and no token": found_by(
        _TOKEN, "completed", row_changed("completed", "end_user = 'user-1'")
    ),
    "a request is of a token that watches": found_by(
        _TOKEN, "of_a_page", row_changed("of_a_page", "token_id = :token_that_watches")
    ),
    "a request is older than its token": found_by(
        _TOKEN, "of_a_page", _token_changed("token", "created_at_ms = created_at_ms + 10000000000")
    ),
    "a request is younger than its token's end": found_by(
        _TOKEN, "of_a_page", _token_changed("token", "expires_at_ms = created_at_ms + 1")
    ),
    "a token may not use the model": found_by(
        _TOKEN, "of_a_page", _token_changed("token", """models = '["kling/video"]'""")
    ),
    "an Idempotency-Key is kept as another user's": found_by(
        _SPACE, "of_a_page", row_changed("of_a_page", "key_space = 'user:user-2'")
    ),
    "an Idempotency-Key of a page is kept as its tenant's": found_by(
        _SPACE, "of_nobody", row_changed("of_nobody", "key_space = ''")
    ),
    "an Idempotency-Key of a key is kept as a page's": found_by(
        _SPACE, "completed", row_changed("completed", "key_space = 'user:user-1'")
    ),
    "a token is another tenant's": found_by(
        _TOKEN, "of_a_page", _token_changed("token", "tenant_id = :other")
    ),
    "a token made more than it may": found_by(
        _BUDGET, "token", _token_changed("token", "max_generations = 1")
    ),
    "a token spent more than it may": found_by(
        _BUDGET, "token", _token_changed("token", "max_microcredits = 299999")
    ),
}

CHARGES = {
    **{
        f"the charge of {name} is {charge}": found_by(
            "charge-is-not-what-the-ledger-says", name, row_changed(name, f"charge = '{charge}'")
        )
        for name, charge in (
            ("in_queue", "settled"),
            ("in_progress", "refunded"),
            ("completed", "refunded"),
            ("completed", "nothing"),
            ("failed", "held"),
        )
    },
    "a charge is removed": found_by(_TERMS, "completed", row_changed("completed", "charge = NULL")),
    "what is older than the ledger has a charge": found_by(
        _TERMS, "old", row_changed("old", "charge = 'held'")
    ),
    **{
        f"{column} is removed": found_by(_TERMS, "in_queue", row_changed("in_queue", f"{column} = NULL"))
        for column in ("root_kid", "quota_day", "settles_in", "price_microcredits")
    },
    "what was charged would be refunded": found_by(
        "end-is-of-the-wrong-kind",
        "cancelled_and_charged",
        row_changed("cancelled_and_charged", "settles_in = 'completed'"),
    ),
    "a price is another": found_by(
        "hold-is-not-the-price", "failed", row_changed("failed", "price_microcredits = 1")
    ),
    "a price is below nothing": found_by(_TERMS, "failed", row_changed("failed", "price_microcredits = -1")),
    "a model is another": found_by(_SUM, "kling", row_changed("completed", "model_id = 'kling/video'")),
    "an operator never said that it was charged": found_by(
        "end-is-of-the-wrong-kind", "charged", _event_changed("charged", 3, "reason = 'x'")
    ),
    "an operator never said that it was not": found_by(
        "end-is-of-the-wrong-kind", "not_charged", _event_changed("not_charged", 3, "reason = 'x'")
    ),
}

OWNERS = {
    "a request is another tenant's": found_by(
        _OWNER, "completed", row_changed("completed", "tenant_id = :other")
    ),
    "a request is another tenant's, with a key of theirs": found_by(
        "entry-without-its-request",
        "failed",
        row_changed("failed", "tenant_id = :other, kid = :stranger, root_kid = :stranger"),
    ),
    "a request is of the other mode": found_by(_OWNER, "failed", row_changed("failed", "mode = 'live'")),
    "a request is another key's": found_by(_OWNER, "failed", row_changed("failed", "kid = :sibling")),
    "a request is of no key": found_by(_OWNER, "failed", row_changed("failed", "kid = 'nobody'")),
    "a request counts in another key": found_by(
        _OWNER, "failed", row_changed("failed", "root_kid = :sibling")
    ),
    "a charged request is another key's altogether": found_by(
        _SUM, "sibling", row_changed("completed", "kid = :sibling, root_kid = :sibling")
    ),
    "a day is another": found_by(_SUM, "2026-10-01", row_changed("completed", "quota_day = '2026-10-01'")),
    "a day that no sum counts is another": found_by(
        _DAY, "failed", row_changed("failed", "quota_day = '2026-10-31'")
    ),
    "a day is none": found_by(_DAY, "failed", row_changed("failed", "quota_day = 'soon'")),
    "a day is the last of all": found_by(_DAY, "failed", row_changed("failed", "quota_day = '9999-12-31'")),
    "a key counts as itself": found_by(_LINE, "stranger_2", _key_changed("stranger_2", "root_kid = NULL")),
    "a key counts as another": found_by(_LINE, "live", _key_changed("live", "root_kid = :sibling")),
    "a key was never rotated": found_by(_LINE, "third", _key_changed("second", "rotated_to = NULL")),
    "a rotated key is another tenant's": found_by(
        _LINE, "third", _key_changed("third", "tenant_id = :other")
    ),
}

IDS = {
    "a request is removed": found_by(
        "entry-without-its-request", "completed", removed("generations", "id = :completed")
    ),
    "a request is removed with its entries": found_by(
        "event-without-its-request",
        "completed",
        removed("ledger_entries", "generation_id = :completed"),
        removed("generations", "id = :completed"),
    ),
    "two requests have one job": found_by(
        "upstream-id-is-twice",
        "job-completed",
        row_changed("failed", "upstream_request_id = 'job-completed'"),
    ),
    "a job's id is removed": found_by(
        "upstream-id-is-missing", "cancelled", row_changed("cancelled", "upstream_request_id = NULL")
    ),
    "a rejected request has a job": found_by(
        "upstream-id-is-unexpected", "rejected", row_changed("rejected", "upstream_request_id = 'x'")
    ),
    "two requests have one Idempotency-Key": found_by(
        "idempotency-key-is-twice",
        "key of completed",
        row_changed("failed", "idempotency_key = 'key of completed'"),
    ),
    "an Idempotency-Key is removed": found_by(
        "idempotency-key-is-half", "failed", row_changed("failed", "idempotency_key = NULL")
    ),
}

HISTORIES = {
    **{
        f"{name} has another {column}": found_by(_TIMES, name, row_changed(name, f"{column} = {moment}"))
        for name, column, moment in (
            ("in_queue", "created_at_ms", "created_at_ms - 1"),
            ("in_queue", "changed_at_ms", "changed_at_ms + 1"),
            ("in_progress", "finished_at_ms", "changed_at_ms"),
            ("completed", "finished_at_ms", "NULL"),
        )
    },
    "a submit has no lease": found_by(
        "nobody-will-move-it", "dispatching", row_changed("dispatching", "lease_until_ms = NULL")
    ),
    "a job is never looked at": found_by(
        "nobody-will-move-it", "in_queue", row_changed("in_queue", "next_poll_at_ms = NULL")
    ),
    "a queue says that another waits": found_by(
        "queue-is-not-its-rows", "acme", "UPDATE queues SET queued = queued + 1 WHERE tenant_id = :acme"
    ),
    "a queue is removed": found_by(
        "queue-is-not-its-rows", "accepted", "DELETE FROM queues WHERE tenant_id = :acme"
    ),
    "a ticket is removed": found_by(
        "waits-out-of-line", "accepted", row_changed("accepted", "ticket = NULL")
    ),
    "what waits has a credential": found_by(
        "waits-out-of-line", "accepted", row_changed("accepted", "credential = 'default'")
    ),
    "what runs has no credential": found_by(
        "waits-out-of-line", "in_progress", row_changed("in_progress", "credential = ''")
    ),
    "a ticket is another's": found_by(
        "waits-out-of-line",
        "accepted",
        row_changed("waiting_too", "ticket = (SELECT ticket FROM generations WHERE id = :accepted)"),
    ),
    "a limit is of nothing": found_by(
        "limit-is-none",
        "acme",
        "INSERT INTO quota_limits (tenant_id, mode, kid, model_id, metric, amount, changed_at_ms)"
        " VALUES (:acme, 'test', '', '', 'wishes-day', 3, 1)",
    ),
    "an event is another tenant's": found_by(
        "event-without-its-request",
        "completed",
        _event_changed("completed", 2, "tenant_id = :other, number = 999"),
    ),
    "an event is of the other mode": found_by(
        "event-without-its-request",
        "completed",
        _event_changed("completed", 2, "mode = 'live', number = 999"),
    ),
    "a number is another": found_by(
        "event-numbers-have-gaps", "acme", _event_changed("completed", 2, "number = 1000")
    ),
    "an event was not counted": found_by(
        "event-numbers-have-gaps", "acme", changed("tenants", "test_events = test_events - 1", "id = :acme")
    ),
    "an event is of another moment": found_by(
        _TIMES, "completed", _event_changed("completed", 4, "at_ms = 1")
    ),
    "a state is another": found_by(
        "state-is-not-its-last-event", "in_queue", row_changed("in_queue", "state = 'completed'")
    ),
    "a state is none": found_by(
        "state-is-not-its-last-event", "in_queue", row_changed("in_queue", "state = 'free'")
    ),
    **{
        f"event {version} of 4 is removed": found_by(
            "history-has-gaps",
            "completed",
            removed("generation_events", f"generation_id = :completed AND version = {version}"),
        )
        for version in (1, 2, 3, 4)
    },
    "all events are removed": found_by(
        "history-has-gaps", "completed", removed("generation_events", "generation_id = :completed")
    ),
    "an event is added": found_by("history-has-gaps", "completed", _event_added("completed", 5, "failed")),
    "an event is another": found_by(_MOVE, "completed", _event_changed("completed", 2, "state = 'unknown'")),
    "the first event is another": found_by(_MOVE, "failed", _event_changed("failed", 1, "state = 'unknown'")),
    "an event is of no state": found_by(_MOVE, "completed", _event_changed("completed", 3, "state = 'x'")),
    "there is a life after the end": found_by(
        _MOVE,
        "failed",
        _event_added("failed", 5, "completed"),
        row_changed("failed", "state = 'completed', version = 5"),
    ),
}

ROWS = TOKENS | CHARGES | OWNERS | IDS | HISTORIES
