"""`reelgate archive`: finished requests go to files, and leave the database."""

from datetime import date
from pathlib import Path

from app.admin.actor import of_command
from app.admin.backups import archive as cases
from app.cli.session import with_admin
from app.cli.tables import say


def archive(folder: Path, *, before: date, batch: int, reason: str | None) -> None:
    """Archives the requests that ended before a day, and says what went into each file."""

    def tell(made: cases.Batch) -> None:
        say(f"{made.file}: {made.requests} requests, {made.events} events, {made.entries} entries.", err=True)

    actor = of_command()
    count = with_admin(
        lambda gateway: cases.archive(
            gateway, actor, folder, before=before, batch=batch, reason=reason, tell=tell
        )
    )
    say(f"{count} requests that had ended before {before} were archived in {folder}.")
