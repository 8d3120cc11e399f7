"""People who sign in by OpenID Connect. Each has a record among the admin keys, to which there is no key.

So whatever is kept by the kid of an admin key is kept for a person too, and to revoke the record bars them.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection

from app.auth import admin_keys
from app.auth.admin_keys import AdminKey
from app.auth.keys import KID_LENGTH
from app.auth.oidc.terms import Terms
from app.errors import SIGN_IN_REFUSED, Problem
from app.kit.secrets import ALPHABET
from app.kit.text import printable

_MAX_NAME: Final = 100
_MAX_SUBJECT: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody whom the provider names, and the admin scopes that their roles give.

    `name` is for people to read: an address or a name, and the subject. Issuer and subject tell people apart.
    """

    issuer: str
    subject: str
    name: str
    scopes: frozenset[str]

    @property
    def digest(self) -> str:
        """What tells this person from all others."""
        return hashlib.sha256(f"reelgate person\0{self.issuer}\0{self.subject}".encode()).hexdigest()

    @property
    def kid(self) -> str:
        """The kid of their record, which is the same at each sign-in."""
        number, kid = int(self.digest, 16), ""
        for _ in range(KID_LENGTH):
            number, digit = divmod(number, len(ALPHABET))
            kid += ALPHABET[digit]
        return kid


def person_of(claims: Mapping[str, Any], terms: Terms) -> Person:
    """Returns the person of an ID token's claims, which are checked already."""
    subject = str(claims["sub"])
    shown = subject if len(subject) <= _MAX_SUBJECT else f"{subject[:_MAX_SUBJECT]}…"
    named = (claims.get(one) for one in ("email", "preferred_username", "name"))
    label = next((one.strip() for one in named if isinstance(one, str) and one.strip()), "")
    tail = f" ({printable(shown)})" if label else printable(shown)
    name = (printable(label)[: max(0, _MAX_NAME - len(tail))] + tail)[:_MAX_NAME]
    return Person(issuer=terms.issuer, subject=subject, name=name, scopes=terms.scopes_of(claims))


def enter(connection: Connection, person: Person, *, now_ms: int) -> AdminKey:
    """Returns the record of a person who signs in, as of now; it is made at the first time.

    Raises:
        Problem: SIGN_IN_REFUSED, where the person is barred.

    """
    found = admin_keys.find(connection, person.kid, to_change=True)
    if found is not None and (not found.is_person or found.digest != person.digest):
        raise Problem(SIGN_IN_REFUSED, "There is another admin key with the kid of this person.")
    if found is not None and found.state(now_ms) != "active":
        raise Problem(
            SIGN_IN_REFUSED, f"This person is barred: their record, {person.kid}, was revoked by an operator."
        )
    return admin_keys.put_person(
        connection,
        person.kid,
        name=person.name,
        scopes=sorted(person.scopes),
        digest=person.digest,
        now_ms=now_ms,
    )
