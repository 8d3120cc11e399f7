"""Who changes something as an operator."""

import os
import pwd
from dataclasses import dataclass
from typing import Final, Literal

MAX_NAME: Final = 100


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: `command` is whoever runs `reelgate` on a machine, by the name of their account there."""

    kind: Literal["command"]
    name: str


def of_command() -> Actor:
    """The user of this process: the account's name, or its number where the machine has no name for it."""
    uid = os.geteuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:  # as in a container that was started with a number
        name = ""
    if not name.isprintable() or not name.strip():
        name = f"uid {uid}"
    return Actor("command", name[:MAX_NAME])
