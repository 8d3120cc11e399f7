"""What the machine draws: how often each of its acts, and what with."""

from typing import Any

from hypothesis import strategies as st

from tests.machine.driver import BODIES, OUTCOMES
from tests.machine.model import Options
from tests.machine.upstream import ENDS

AMOUNTS: dict[str, tuple[int | None, ...]] = {
    "submits-minute": (1, 3, 6, None),
    "in-flight": (1, 3, 5, None),
    "generations-day": (0, 3, 6, None),
    "generations-month": (4, 9),
    "generations-total": (6, 12),
    "credits-day": (149_999, 600_000, 2_000_000, None),
    "credits-month": (1_000_000, 3_000_000),
    "credits-total": (0, 900_000, 2_000_000, None),
    "output-seconds-day": (4, 20, 60, None),
    "output-seconds-month": (40, 90),
    "output-seconds-total": (30, 120, None),
}
DEFAULTS = [
    (("submits-minute", 600),),
    (("in-flight", 5), ("submits-minute", 6)),
    (("generations-month", 12), ("credits-day", 2_000_000), ("output-seconds-day", 90)),
]

which = st.integers(0, 5)
number = st.integers(0, 20)
kinds = st.sampled_from(sorted(BODIES))
outcomes = st.sampled_from(["accept"] * 6 + sorted(OUTCOMES))
some_options = st.builds(
    Options,
    settle_on=st.sampled_from(["success", "acceptance"]),
    charge_for=st.sampled_from([(), ("failed",), ("cancelled", "lost"), ("failed", "cancelled", "lost")]),
    unknown_slot_s=st.sampled_from([900, 0]),
    default_limits=st.sampled_from(DEFAULTS),
    cut_off=st.sampled_from([False] * 5 + [True]),
)
amounts = st.sampled_from([(metric, amount) for metric, each in AMOUNTS.items() for amount in each])
models = st.sampled_from(["", "", *sorted({model_id for model_id, _ in BODIES.values()})])

_LIMIT: dict[str, st.SearchStrategy[Any]] = {
    "line": which,
    "of_key": st.booleans(),
    "model": models,
    "amount": amounts,
    "burst": st.sampled_from([None, 1, 2]),
}
a_limit = st.fixed_dictionaries(_LIMIT)

# How often each is drawn, and what it is drawn with. They are one rule, since Hypothesis leaves out half of
# the rules of an example: a history in which nobody submits says little.
ACTS: dict[str, tuple[int, dict[str, st.SearchStrategy[Any]]]] = {
    "submit": (8, {"at": which, "line": which, "kind": kinds, "outcome": outcomes, "keyed": st.booleans()}),
    "submit_again": (
        4,
        {
            "at": which,
            "line": which,
            "earlier": which,
            "age": st.integers(0, 2),
            "outcome": outcomes,
            "other": st.sampled_from([None, None, *sorted(BODIES)]),
        },
    ),
    "submit_at_once": (
        3,
        {
            "line": which,
            "kind": kinds,
            "count": st.integers(1, 6),
            "copies": st.integers(1, 3),
            "room": st.sampled_from([None, 1, 2]),
        },
    ),
    "press": (
        2,
        {
            "at": which,
            "line": which,
            "kind": kinds,
            "relief": st.sampled_from(["limits", "end", "payment", 61, 901, "day", "month"]),
        },
    ),
    "hang": (2, {"at": which, "line": which, "kind": kinds}),
    "answer": (2, {"at": which, "action": st.sampled_from(["accept", "refuse", "busy", "lost"])}),
    "ask": (1, {"at": which, "line": which, "kind": kinds, "valid": st.booleans()}),
    "look": (6, {"at": which, "job": number, "what": st.sampled_from(["status", "result", "record"])}),
    "cancel": (3, {"at": which, "job": number, "too_late": st.booleans()}),
    "look_at_once": (1, {"job": number, "cancelling": st.booleans()}),
    "progress": (
        6,
        {"job": number, "to": st.sampled_from(["running", "running", "completed", *ENDS, "gone", "blind"])},
    ),
    "resolve": (
        2,
        {
            "at": which,
            "job": number,
            "found": number,
            "how": st.sampled_from(["charged", "not charged", "attach", "attach", "attach another"]),
        },
    ),
    "change_servers": (
        2,
        {
            "at": which,
            "how": st.sampled_from(["restart", "crash", "join", "join", "leave"]),
            "options": some_options,
        },
    ),
    "crash_before_the_record": (1, {"at": which, "line": which, "kind": kinds, "options": some_options}),
    "let_time_pass": (
        5,
        {"step": st.sampled_from([1, 1, 31, 31, 301, 301, 901, 3_601, 86_401, -2, -2, "day", "month"])},
    ),
    "rotate": (1, {"line": which, "overlap_s": st.sampled_from([1, 3_600])}),
    "move": (1, {"zone": st.sampled_from(["UTC", "Europe/Berlin", "Pacific/Auckland", "Pacific/Honolulu"])}),
    "set_limit": (3, _LIMIT),
    "unset_limits": (2, {"at": which, "every": st.booleans()}),
    "pay": (
        2,
        {
            "line": which,
            "own": st.booleans(),
            "amount": st.sampled_from([150_000, 1_000_000, 3_000_000, -100_000]),
            "reference": st.sampled_from([None, "1", "2"]),
        },
    ),
}
acts = st.sampled_from([name for name, (weight, _) in ACTS.items() for _ in range(weight)]).flatmap(
    lambda name: st.tuples(st.just(name), st.fixed_dictionaries(ACTS[name][1]))
)
