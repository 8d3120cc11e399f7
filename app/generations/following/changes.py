"""What has changed, of all tenants: which kinds of things, for operators who follow it, and nothing of them.

One listener in a process hears the announcements while somebody follows, and none otherwise.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Literal, get_args

from app.db.announcements import ASSETS, EVERYTHING, SENT, WEBHOOKS, Announcement, Announcements
from app.generations.lifecycle import State

Kind = Literal["assets", "requests", "webhooks"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
_HEARD: Final = (EVERYTHING, WEBHOOKS, SENT, ASSETS)
_STATES: Final = frozenset(State)


class Changes:
    """How often each kind of thing has changed, while somebody follows that."""

    def __init__(self) -> None:
        self._numbers: Counter[Kind] = Counter()
        self._bells: set[asyncio.Event] = set()

    @contextmanager
    def heard(self, announcements: Announcements, bell: asyncio.Event) -> Iterator[Mapping[Kind, int]]:
        """Gives the numbers of changes by kind, which grow during the block; every change rings the bell."""
        if not self._bells:
            for subject in _HEARD:
                announcements.subscribe(subject, self._hear)
        self._bells.add(bell)
        try:
            yield self._numbers
        finally:
            self._bells.discard(bell)
            if not self._bells:
                for subject in _HEARD:
                    announcements.unsubscribe(subject, self._hear)

    def ring(self) -> None:
        """Wakes everybody who follows."""
        for bell in self._bells:
            bell.set()

    def _hear(self, announcement: Announcement | None) -> None:
        self._numbers.update(KINDS if announcement is None else (kind_of(announcement),))
        self.ring()


def kind_of(announcement: Announcement) -> Kind:
    """Returns the kind of thing that an announcement is of."""
    if announcement.state in _STATES:
        return "requests"
    if announcement.state == ASSETS or announcement.state.startswith("asset_"):
        return "assets"
    return "webhooks"  # some are to be sent or were, or an endpoint was disabled
