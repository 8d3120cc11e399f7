"""What somebody with a database shell could do to the ledger and its sums, and the rule that must find it."""

from typing import NamedTuple

_ROLL_UP = "roll-up-is-not-the-sum-of-the-ledger"


class Tampering(NamedTuple):
    """Statements over the names of `tests.admin.books`; `subject` is what a finding of the rule must name."""

    rule: str
    subject: str
    statements: tuple[str, ...]


def found_by(rule: str, subject: str, *statements: str) -> Tampering:
    return Tampering(rule, subject, statements)


def changed(table: str, what: str, where: str) -> str:
    return f"UPDATE {table} SET {what} WHERE {where}"  # noqa: S608


def removed(table: str, where: str) -> str:
    return f"DELETE FROM {table} WHERE {where}"  # noqa: S608


def row_changed(name: str, what: str) -> str:
    return changed("generations", what, f"id = :{name}")


def entry_changed(name: str, kind: str, what: str) -> str:
    return changed("ledger_entries", what, f"generation_id = :{name} AND kind = '{kind}'")


def entry_removed(name: str, kind: str) -> str:
    return removed("ledger_entries", f"generation_id = :{name} AND kind = '{kind}'")


def entry_added(name: str, kind: str, microcredits: int) -> str:
    columns = "tenant_id, mode, kind, generation_id, kid, model_id, microcredits, at_ms"
    values = f"tenant_id, mode, '{kind}', id, '', '', {microcredits}, changed_at_ms"
    return f"INSERT INTO ledger_entries ({columns}) SELECT {values} FROM generations WHERE id = :{name}"  # noqa: S608


def payment_changed(number: int, what: str) -> str:
    return changed("ledger_entries", what, f"reference = 'payment-{number}'")


def total_changed(what: str) -> str:
    of_all = (
        "tenant_id = :acme AND mode = 'test' AND kid = '' AND model_id = '' AND end_user = ''"
        " AND period = 'total'"
    )
    return changed("quota_usage", what, of_all)


def spent_changed(name: str, sign: str) -> str:
    """Every sum that a request of the first key counts in."""
    day = f"(SELECT quota_day FROM generations WHERE id = :{name})"  # noqa: S608
    return changed(
        "quota_usage",
        f"spent_generations = spent_generations {sign} 1,"
        f" spent_microcredits = spent_microcredits {sign} 150000,"
        f" spent_output_seconds = spent_output_seconds {sign} 5",
        "tenant_id = :acme AND mode = 'test' AND kid IN ('', :first) AND end_user = ''"
        f" AND model_id IN ('', 'bytedance/dreamina') AND (period = 'total' OR {day} LIKE period || '%')",
    )


_SUM = "usage-is-not-the-sum-of-the-rows"

ENTRIES = {
    "a hold is removed": found_by("hold-is-not-once", "in_queue", entry_removed("in_queue", "hold")),
    "a refund is removed": found_by("end-is-not-once", "failed", entry_removed("failed", "refund")),
    "a settle is removed": found_by("end-is-not-once", "completed", entry_removed("completed", "settle")),
    "all entries of a request are removed": found_by(
        "hold-is-not-once", "completed", removed("ledger_entries", "generation_id = :completed")
    ),
    "a second hold": found_by("hold-is-not-once", "completed", entry_added("completed", "hold", -150_000)),
    "a refund of what was settled": found_by(
        "end-is-not-once", "completed", entry_added("completed", "refund", 150_000)
    ),
    "a second refund": found_by("end-is-not-once", "failed", entry_added("failed", "refund", 150_000)),
    "a refund of what still runs": found_by(
        "end-is-not-once", "in_queue", entry_added("in_queue", "refund", 150_000)
    ),
    "a settle of what still runs": found_by(
        "end-is-of-the-wrong-kind", "in_queue", entry_added("in_queue", "settle", 0)
    ),
    "a hold of another amount": found_by(
        "hold-is-not-the-price", "in_queue", entry_changed("in_queue", "hold", "microcredits = -1")
    ),
    "a hold that adds": found_by(
        "hold-is-not-the-price", "completed", entry_changed("completed", "hold", "microcredits = 150000")
    ),
    "a refund of more than the price": found_by(
        "refund-is-not-the-price", "failed", entry_changed("failed", "refund", "microcredits = 150001")
    ),
    "a settle that gives something back": found_by(
        "settle-changes-the-balance", "completed", entry_changed("completed", "settle", "microcredits = 1")
    ),
    "an entry of no request": found_by(
        "entry-without-its-request",
        "hold of nobody",
        "INSERT INTO ledger_entries (tenant_id, mode, kind, generation_id, kid, model_id, microcredits,"
        " at_ms) VALUES (:acme, 'test', 'hold', 'nobody', '', '', -1, 1)",
    ),
    "a hold of a request from before the ledger": found_by(
        "entry-without-its-request", "old", entry_added("old", "hold", -150_000)
    ),
    "an entry is another tenant's": found_by(
        "entry-without-its-request", "failed", entry_changed("failed", "refund", "tenant_id = :other")
    ),
    "an entry is of the other mode": found_by(
        "entry-without-its-request", "in_queue", entry_changed("in_queue", "hold", "mode = 'live'")
    ),
    "an entry is another request's": found_by(
        "hold-is-not-once", "in_queue", entry_changed("in_queue", "hold", "generation_id = :failed")
    ),
    "an entry is of a key": found_by(
        "entry-without-its-request", "in_queue", entry_changed("in_queue", "hold", "kid = :first")
    ),
    **{
        f"a {kind} is of another month": found_by(
            "entry-is-not-of-its-moment", name, entry_changed(name, kind, "at_ms = at_ms + 2592000000")
        )
        for kind, name in (("hold", "in_queue"), ("settle", "completed"), ("refund", "failed"))
    },
    "a top-up of another amount": found_by(_SUM, "acme", payment_changed(1, "microcredits = 1")),
    "a top-up is removed": found_by(_SUM, "acme", removed("ledger_entries", "reference = 'payment-2'")),
    "a top-up is another tenant's": found_by(_SUM, "other", payment_changed(1, "tenant_id = :other")),
    "a top-up is a key's own": found_by(_SUM, "sibling", payment_changed(1, "kid = :sibling")),
    "a top-up is of the other mode": found_by(_SUM, " live ", payment_changed(1, "mode = 'live'")),
    "an adjustment is removed": found_by(_SUM, "acme", removed("ledger_entries", "kind = 'adjustment'")),
    "a top-up that takes away, and the sum with it": found_by(
        "top-up-takes-away",
        "entry ",
        payment_changed(1, "microcredits = -microcredits"),
        total_changed("added_microcredits = added_microcredits - 100000000"),
    ),
    "two payments of one number": found_by(
        "reference-is-twice", "payment-1", payment_changed(2, "reference = 'payment-1'")
    ),
}

SUMS = {
    **{
        f"{column} is another": found_by(_SUM, column, total_changed(f"{column} = {column} + 1"))
        for column in (
            "held_generations",
            "spent_generations",
            "held_microcredits",
            "spent_microcredits",
            "held_output_seconds",
            "spent_output_seconds",
            "added_microcredits",
        )
    },
    "a sum of a month is another": found_by(
        _SUM,
        "held_microcredits",
        changed("quota_usage", "held_microcredits = 0", "tenant_id = :acme AND period LIKE '____-__'"),
    ),
    "a request that runs orders less": found_by(
        _SUM, "held_output_seconds is ", row_changed("in_queue", "output_seconds = 0")
    ),
    "a request that is over ordered more": found_by(
        _SUM, "spent_output_seconds is ", row_changed("completed", "output_seconds = 86400")
    ),
    "the sums of a key are removed": found_by(_SUM, "first", removed("quota_usage", "kid = :first")),
    "a sum is another tenant's": found_by(
        _SUM,
        "other",
        changed("quota_usage", "tenant_id = :other", "tenant_id = :acme AND kid = :first"),
    ),
    "a sum is invented": found_by(
        _SUM,
        "2020-01-01",
        "INSERT INTO quota_usage (tenant_id, mode, kid, model_id, period, held_generations,"
        " spent_generations, held_microcredits, spent_microcredits, added_microcredits)"
        " VALUES (:acme, 'test', '', '', '2020-01-01', 0, 1, 0, 0, 0)",
    ),
    **{
        f"a roll-up of {facet}s has {what}": found_by(
            _ROLL_UP,
            f" {facet} ",
            changed("usage_counts", what, f"facet = '{facet}' AND outcome = 'completed'"),
        )
        for facet in ("hour", "day")
        for what in ("spent_microcredits = spent_microcredits + 1", "period = period + 1")
    },
    "a roll-up is removed": found_by(
        _ROLL_UP, " day ", removed("usage_counts", "facet = 'day' AND outcome = 'failed'")
    ),
    "a price is corrected without an entry": found_by(
        "repriced-is-not-what-the-ledger-says",
        "completed",
        row_changed("completed", "repriced_microcredits = 7"),
    ),
    "a correction is of nothing": found_by(
        "correction-without-its-request", "about nobody", payment_changed(1, "about_id = 'nobody'")
    ),
}

# With care: ledger, charge and sums agree with one another. The history does not.
CAREFUL = {
    "a completed job is refunded everywhere": found_by(
        "end-is-of-the-wrong-kind",
        "completed",
        entry_changed("completed", "settle", "kind = 'refund', microcredits = 150000"),
        row_changed("completed", "charge = 'refunded'"),
        spent_changed("completed", "-"),
    ),
    "a failed job is charged everywhere": found_by(
        "end-is-of-the-wrong-kind",
        "failed",
        entry_changed("failed", "refund", "kind = 'settle', microcredits = 0"),
        row_changed("failed", "charge = 'settled'"),
        spent_changed("failed", "+"),
    ),
    "a charged job is taken out of the ledger everywhere": found_by(
        "terms-are-incomplete",
        "completed",
        removed("ledger_entries", "generation_id = :completed"),
        row_changed("completed", "charge = NULL"),
        spent_changed("completed", "-"),
    ),
    "a job that fails is charged from now on": found_by(
        "end-is-of-the-wrong-kind", "failed", row_changed("failed", "settles_in = 'completed,failed'")
    ),
    "a job that completes is given back from now on": found_by(
        "terms-are-incomplete", "in_queue", row_changed("in_queue", "settles_in = 'lost'")
    ),
}
