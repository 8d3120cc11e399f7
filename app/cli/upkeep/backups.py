"""`reelgate backup`, `restore` and `recover`."""

import asyncio
import gzip
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from app.admin.actor import of_command
from app.admin.backups import backup as cases
from app.admin.backups import recover as recovering
from app.admin.backups import restore as restoring
from app.admin.backups.recover import Fate, Recovered
from app.cli.session import plain_errors, refuse_elsewhere, settings_or_exit, with_admin
from app.cli.tables import print_json, print_table, say
from app.kit.clock import SystemClock
from app.kit.log import configure_logging

_GZIP = b"\x1f\x8b"


def backup(folder: Path, *, as_json: bool) -> None:
    """Makes a backup inside a folder, and says where."""
    made, manifest = with_admin(lambda gateway: cases.backup(gateway, folder))
    if as_json:
        print_json({"folder": str(made), **{name: getattr(manifest, name) for name in manifest.__slots__}})
        return
    say(f"The backup is in {made}: schema {manifest.schema}, {manifest.spooled} lines of the spool.")
    say(f"Its keys need the pepper whose id is {manifest.pepper_id or '(no key yet)'}; keep that elsewhere.")


def restore(folder: Path, *, replace: bool) -> None:
    """Restores a backup, and says what is to be done next."""
    refuse_elsewhere()
    settings = settings_or_exit()
    configure_logging(level="ERROR", as_json=False)
    with plain_errors():
        done = asyncio.run(restoring.restore(settings, SystemClock(), of_command(), folder, replace=replace))
    say(f"The backup of {done.manifest.made_at} is restored, with schema {done.manifest.schema}.")
    if done.set_aside is not None:
        say(f"What was there before is {done.set_aside}.")
    if done.pepper_unknown:
        say(f"No pepper is set: the servers need the one whose id is {done.manifest.pepper_id}.")
    if done.paused:
        say("Dispatch is paused: what was queued then may have been sent since.")
    else:
        say("Before a server starts: reelgate migrate, and reelgate dispatch pause.")
    say("Next: reelgate recover LOG…, reelgate ledger verify, reelgate audit verify, a server,")
    say("      and at last reelgate dispatch resume. See docs/backups.md.")


def recover(files: Sequence[Path], *, dry_run: bool, reason: str | None, as_json: bool) -> int:
    """Recovers the jobs that files name; returns how many were left."""
    with plain_errors():
        jobs = [job for file in files for job in recovering.jobs_in(_lines(file))]
    actor = of_command()
    found = with_admin(
        lambda gateway: recovering.recover(gateway, actor, jobs, dry_run=dry_run, reason=reason)
    )
    left = [one for one in found if one.fate is Fate.LEFT]
    if as_json:
        print_json([_document(one) for one in found if one.fate is not Fate.KNOWN])
        return len(left)
    counts = Counter(one.fate for one in found)
    would = "Would be: " if dry_run else ""
    say(f"{would}{', '.join(f'{counts[fate]} {fate}' for fate in Fate)}.")
    if left:
        print_table(
            ("REQUEST", "UPSTREAM ID", "WHY IT WAS LEFT"),
            [(one.job.generation_id, one.job.upstream_request_id, one.why) for one in left],
        )
    return len(left)


def _document(one: Recovered) -> dict[str, str]:
    return {
        "request_id": one.job.generation_id,
        "upstream_request_id": one.job.upstream_request_id,
        "fate": one.fate,
        "why": one.why,
    }


def _lines(file: Path) -> Iterator[str]:
    """Yields the lines of a file, which may be compressed by gzip; `-` is standard input."""
    if str(file) == "-":
        yield from sys.stdin
        return
    with file.open("rb") as opened:
        compressed = opened.read(2) == _GZIP
    opener = gzip.open if compressed else open
    with opener(file, "rt", encoding="utf-8", errors="replace") as text:
        yield from text
