"""`python -m bench [PART]`: exit code 0, 1 where a response was wrong or missing, 2 for wrong options."""

import argparse
import json
import sys
from pathlib import Path

from bench import (
    asked,
    calls,
    crossings,
    crowd,
    floor,
    following,
    metering,
    plans,
    probing,
    queueing,
    rates,
    resting,
    shares,
    tokens,
    transactions,
    watching,
    webhooks,
)
from bench.children import RunError, exit_on_sigterm
from bench.report import document, machine, table
from bench.rounds import Options, run
from bench.targets import TARGETS

_QUICK_S = 0.2
_MAX_SECONDS = 60.0
_MAX_ROUNDS = 50
_MAX_RATE = 5000.0
_PARTS = {
    "asked": asked,
    "calls": calls,
    "crossings": crossings,
    "crowd": crowd,
    "floor": floor,
    "resting": resting,
    "following": following,
    "metering": metering,
    "watching": watching,
    "webhooks": webhooks,
    "plans": plans,
    "probing": probing,
    "queueing": queueing,
    "rates": rates,
    "shares": shares,
    "tokens": tokens,
    "transactions": transactions,
}


def main() -> int:
    """Runs the named part, or compares the requests of callers with bare routes; returns the exit code."""
    exit_on_sigterm()
    part = _PARTS.get(sys.argv[1]) if len(sys.argv) > 1 else None
    if part is None:
        return _compare()
    parser = argparse.ArgumentParser(prog=f"python -m bench {sys.argv[1]}", description=part.__doc__)
    part.add_options(parser)
    try:
        faults = part.main(parser.parse_args(sys.argv[2:]))
    except RunError as error:
        faults = [str(error)]
    for fault in faults:
        print(f"bench: {fault}", file=sys.stderr)
    return int(bool(faults))


def _compare() -> int:
    parser = _parser()
    given = parser.parse_args()
    options = Options(
        seconds=_QUICK_S if given.quick else given.seconds,
        rounds=1 if given.quick else given.rounds,
        rate=given.rate,
        database=given.database,
        only=frozenset(given.only or ()),
        pin=not given.no_pin,
        quick=given.quick,
    )
    if not (0 < options.seconds <= _MAX_SECONDS and 0 < options.rounds <= _MAX_ROUNDS):
        parser.error(f"--seconds is at most {_MAX_SECONDS:g}, --rounds at most {_MAX_ROUNDS}.")
    if not 1 <= options.rate <= _MAX_RATE:
        parser.error(f"--rate is from 1 to {_MAX_RATE:g}.")
    facts = machine()
    try:
        findings = run(options, say=lambda text: print(text, file=sys.stderr))
    except RunError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(table(facts, findings))
    if given.json is not None:
        given.json.write_text(
            json.dumps(document(options, facts, findings), indent=1) + "\n", encoding="utf-8"
        )
    for fault in findings.faults:
        print(f"bench: {fault}", file=sys.stderr)
    return 1 if findings.faults else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure the gateway beside a bare FastAPI route, in interleaved rounds on loopback.",
    )
    parser.add_argument("--seconds", type=float, default=0.5, help="of each target, loop and round (0.5)")
    parser.add_argument("--rounds", type=int, default=5, help="to take medians over (5)")
    parser.add_argument("--rate", type=float, default=200.0, help="requests/s of the open loop (200)")
    parser.add_argument(
        "--database",
        default="sqlite",
        help="sqlite, postgresql (from its wheel), or a server's URL: a database is made there and dropped",
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=[one.name for one in TARGETS],
        help="this target and its baseline; may be repeated",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything, with each round")
    parser.add_argument("--quick", action="store_true", help="one round of 0.2 s: does it work at all?")
    parser.add_argument("--no-pin", action="store_true", help="let all processes share all cores")
    return parser


if __name__ == "__main__":
    sys.exit(main())
