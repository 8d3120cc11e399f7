"""Actors: who makes an operator's change, for the audit log."""

import os
import pwd
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from app.auth.admin_keys import AdminKey

MAX_NAME: Final = 100


@dataclass(frozen=True, slots=True)
class Actor:
    """Who makes a change.

    The kind `command` is a user who runs `reelgate`, by the name of their account, `admin_key` a caller of
    the admin API, by the kid of their key, `person` somebody who signed in to the console by OpenID Connect,
    by what the provider calls them, `api_key` somebody of a tenant, by the kid of theirs, and
    `gateway` what the gateway does by itself, by the name of the work.
    """

    kind: Literal["command", "admin_key", "person", "api_key", "gateway"]
    name: str


def of_admin_key(key: "AdminKey") -> Actor:
    """Returns who acts with an admin key, or with the record of a person."""
    return Actor("person", key.name) if key.is_person else Actor("admin_key", key.kid)


def of_command() -> Actor:
    """Returns the user of this process: the account's name, or its number where it has no printable name."""
    uid = os.geteuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:  # as in a container that was started with a number
        name = ""
    if not name.isprintable() or not name.strip():
        name = f"uid {uid}"
    return Actor("command", name[:MAX_NAME])
