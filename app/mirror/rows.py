"""Assets: the files of outputs that are mirrored. They are written with the request's completion."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, cast

from sqlalchemy import Connection, bindparam, func, select, update
from sqlalchemy.exc import DBAPIError

from app.auth.keys import Mode
from app.db.announcements import announce, asset_announcement
from app.db.schema.asset_states import AssetState, MirrorMode, Removal
from app.db.schema.tables import api_keys, assets, generations, tenants
from app.db.statements.prepared import Prepared, inserting
from app.kit.ids import is_id, new_id
from app.kit.log import get_logger
from app.quotas.account import Owner
from app.quotas.limits import Payer

_log = get_logger("mirror")
ASSET: Final = "ast_"
"""How the ids of assets begin."""
MAX_PLACES: Final = 100
"""The most files of one output that are mirrored."""
_ONE: Final = ("image", "video")
_MANY: Final = ("images", "videos")
_INSERTED: Final = (
    "id",
    "tenant_id",
    "mode",
    "generation_id",
    "kid",
    "end_user",
    "place",
    "pointer",
    "state",
    "next_at_ms",
    "created_at_ms",
)
_MODE_OF: Final = Prepared(
    select(func.coalesce(api_keys.c.mirror, tenants.c.mirror))
    .join_from(api_keys, tenants, tenants.c.id == api_keys.c.tenant_id)
    .where(api_keys.c.kid == bindparam("of_kid"))
)
_MARK: Final = Prepared(
    update(generations).where(generations.c.id == bindparam("of_id")).values(mirror=bindparam("with_mode"))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """A file that is in the store, and what its bytes say of it."""

    storage_key: str
    sha256: str
    size_bytes: int
    media_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """A row of the table: a file of an output, and its copy.

    `pointer` is the file's first place in the output, as a JSON pointer. The members from `storage_key` to
    `expires_at_ms` are the copy's, and None until there is one. `removing_at_ms` is when the deletion of its
    bytes began, from when on they are not served.
    """

    id: str
    tenant_id: str
    mode: Mode
    generation_id: str
    kid: str
    end_user: str | None
    place: int
    pointer: str
    state: AssetState
    attempts: int
    interrupted_from: int | None
    next_at_ms: int
    lease_until_ms: int | None
    last_error: str | None
    created_at_ms: int
    storage_key: str | None
    sha256: str | None
    size_bytes: int | None
    media_type: str | None
    stored_at_ms: int | None
    expires_at_ms: int | None
    removing_at_ms: int | None
    removal: Removal | None
    finished_at_ms: int | None

    @property
    def account(self) -> tuple[Owner, Payer]:
        """Whose stored bytes its copy counts in."""
        return Owner(self.tenant_id, self.mode), Payer(self.kid, self.end_user or "")

    @property
    def copied(self) -> Copied | None:
        """Its copy; None where there is none that may be read."""
        if self.state is not AssetState.STORED or self.removing_at_ms is not None:
            return None
        if None in (self.storage_key, self.sha256, self.size_bytes, self.media_type):
            raise AssertionError(f"{self.id} is stored, and its row does not say what")
        return Copied(
            storage_key=self.storage_key or "",
            sha256=self.sha256 or "",
            size_bytes=self.size_bytes or 0,
            media_type=self.media_type or "",
        )

    @property
    def is_served(self) -> bool:
        """Whether its bytes may be read."""
        return self.state is AssetState.STORED and self.removing_at_ms is None


_COLUMNS: Final = [assets.c[field.name] for field in fields(Asset)]
_BY_ID: Final = Prepared(select(*_COLUMNS).where(assets.c.id == bindparam("of_id")))
_OF_GENERATION: Final = Prepared(
    select(*_COLUMNS).where(assets.c.generation_id == bindparam("of_id")).order_by(assets.c.place)
)


def asset_of(row: Sequence[Any]) -> Asset:
    """Returns the asset in a row of all columns, in the order of the table."""
    values = dict(zip((column.name for column in _COLUMNS), row, strict=True))
    values["state"] = AssetState(values["state"])
    values["removal"] = None if values["removal"] is None else Removal(values["removal"])
    return Asset(**values)


def columns() -> list[Any]:
    """Returns the columns that `asset_of` reads."""
    return list(_COLUMNS)


def find(connection: Connection, asset_id: str) -> Asset | None:
    """Returns an asset, of whatever tenant; None where there is none."""
    row = _BY_ID.one_or_none(connection, {"of_id": asset_id})
    return None if row is None else asset_of(row)


def of_generation(connection: Connection, generation_id: str) -> list[Asset]:
    """Returns the assets of a request, in the order of their places."""
    return [asset_of(row) for row in _OF_GENERATION.all(connection, {"of_id": generation_id})]


def is_asset_id(text: str) -> bool:
    """Returns whether the text has the form of an asset's id."""
    return text.startswith(ASSET) and is_id(text.removeprefix(ASSET))


def begin(
    connection: Connection,
    generation_id: str,
    output: Any,
    *,
    tenant_id: str,
    mode: Mode,
    kid: str,
    payer: Payer,
    keep_s: int | None,
    now_ms: int,
) -> MirrorMode | None:
    """Writes the assets of an output, where it is mirrored; returns how it is, None where it is not.

    It is called in the transaction that completes the request: the record of a paid job. So no defect in
    reading the output undoes it: then nothing of it is mirrored. `kid` is the key whose choice counts, and
    `payer` for whom the bytes count. `keep_s` is for how long the submit allowed
    copies to be kept, None where it did not say; 0 wants none.
    """
    found = _MODE_OF.one_or_none(connection, {"of_kid": kid})
    chosen = cast("MirrorMode | None", None if found is None else found[0])
    if chosen in {None, "off"} or keep_s == 0:
        return None
    try:
        pointers = first_places(output)
        for place, pointer in enumerate(pointers.values()):
            row = {
                "id": ASSET + new_id(now_ms),
                "tenant_id": tenant_id,
                "mode": mode,
                "generation_id": generation_id,
                "kid": payer.kid,
                "end_user": payer.end_user or None,
                "place": place,
                "pointer": pointer,
                "state": AssetState.PENDING.value,
                "next_at_ms": now_ms,
                "created_at_ms": now_ms,
            }
            inserting(assets, *_INSERTED).run(connection, row)
    except DBAPIError:
        raise
    except Exception:  # noqa: BLE001 - as the docstring says
        _log.exception("The output of a request could not be read, so it is not mirrored.", id=generation_id)
        return None
    if not pointers:
        return None
    _MARK.run(connection, {"of_id": generation_id, "with_mode": chosen})
    announce(connection, asset_announcement(tenant_id, mode))
    return chosen


def links_in(output: Any) -> Iterator[tuple[str, str]]:
    """Yields the pictures and videos of an output: each JSON pointer with its URL."""
    if not isinstance(output, Mapping):
        return
    for name in _ONE:
        if isinstance(url := output.get(name), str) and url:
            yield f"/{name}", url
    for name in _MANY:
        listed = output.get(name)
        if isinstance(listed, Sequence) and not isinstance(listed, str):
            for number, url in enumerate(listed):
                if isinstance(url, str) and url:
                    yield f"/{name}/{number}", url


def first_places(output: Any) -> dict[str, str]:
    """Returns the first place of each URL of an output: one that stands in two places is copied once."""
    pointers: dict[str, str] = {}
    for pointer, url in links_in(output):
        if len(pointers) >= MAX_PLACES:
            break
        pointers.setdefault(url, pointer)
    return pointers


def with_links(output: Any, links: Mapping[str, str]) -> Any:
    """Returns an output with other links in place of those at these places, and of equal ones elsewhere."""
    instead = {url: links[place] for url, place in first_places(output).items() if place in links}
    if not instead:
        return output
    changed = dict(output)
    for name in (*_ONE, *_MANY):
        value = changed.get(name)
        if isinstance(value, str):
            changed[name] = instead.get(value, value)
        elif isinstance(value, list):
            changed[name] = [instead.get(one, one) if isinstance(one, str) else one for one in value]
    return changed


def url_at(output: Any, pointer: str) -> str | None:
    """Returns the URL at a place of an output; None where there is none, as after its erasure."""
    return next((url for place, url in links_in(output) if place == pointer), None)
