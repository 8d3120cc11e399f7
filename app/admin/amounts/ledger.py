"""The ledger, for the operator: entering top-ups and adjustments of a balance, and listing entries."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from app.admin import accounts, audit
from app.admin.accounts import Account, AccountName
from app.admin.actor import Actor
from app.admin.audit import Change
from app.admin.paging import MAX_PAGE, Page, PageSize, cursor_of, page_of, place_in
from app.admin.session import AdminGateway
from app.admin.violations import faults_of_text, refuse
from app.errors import INVALID_ACCOUNT, INVALID_LEDGER_ENTRY, REQUEST_NOT_FOUND, FieldError, Problem
from app.kit.text import quoted
from app.quotas.balances import ledger
from app.quotas.balances.ledger import Entry, Kind
from app.quotas.limits import LimitError, parse_credits
from app.quotas.standing import Standing

MAX_NOTE: Final = 200
MAX_REFERENCE: Final = 100


@dataclass(frozen=True, slots=True)
class Entered:
    """The result of a top-up or an adjustment.

    `is_new` is false where an entry with its reference was there already: then nothing was entered.
    `reference` is as it is stored, without blanks around it. `standings` are those of the account afterwards.
    """

    tenant: str
    account: Account
    is_new: bool
    microcredits: int
    reference: str | None
    standings: tuple[Standing, ...]


@dataclass(frozen=True, slots=True)
class ListedEntry:
    """An entry of the ledger, and the name of its tenant."""

    tenant: str
    entry: Entry


async def listed(
    gateway: AdminGateway,
    *,
    tenant: str | None = None,
    request_id: str | None = None,
    limit: PageSize = MAX_PAGE,
    cursor: str | None = None,
) -> Page[ListedEntry]:
    """Returns the entries of one tenant or request, or all, in pages, newest first.

    Raises:
        Problem: TENANT_NOT_FOUND, REQUEST_NOT_FOUND, INVALID_PARAMETER.

    """
    before = None if cursor is None else place_in(cursor, int)[0]
    tenant_id = await accounts.tenant_id_of(gateway, tenant)
    if request_id is not None:
        from app.generations import store  # noqa: PLC0415 - a list of all needs nothing of requests

        if await gateway.db.read(store.find, request_id, tenant_id) is None:
            of_tenant = "" if tenant is None else f" of {tenant}"
            raise Problem(REQUEST_NOT_FOUND, f"there is no request {quoted(request_id)}{of_tenant}.")
    found = await gateway.db.read(
        ledger.entries, tenant_id=tenant_id, generation_id=request_id, before=before, limit=limit + 1
    )
    names = await accounts.tenant_names(gateway)
    entries = [ListedEntry(names[one.owner.tenant_id], one) for one in found]
    return page_of(entries, limit, lambda one: cursor_of(one.entry.id))


async def top_up(
    gateway: AdminGateway,
    actor: Actor,
    name: AccountName,
    amount: str,
    *,
    note: str | None = None,
    reference: str | None = None,
    reason: str | None = None,
) -> Entered:
    """Adds an amount of credits, such as `12.5`, to a balance; the first top-up makes it prepaid.

    A top-up with a `reference` is entered only once in each account: once for the tenant's live keys, and
    once for its test keys.

    Raises:
        Problem: INVALID_LEDGER_ENTRY, REFERENCE_CONFLICT, INVALID_ACCOUNT, TENANT_NOT_FOUND,
            API_KEY_NOT_FOUND, MODEL_NOT_FOUND, INVALID_REASON.

    """
    wanted = _Wanted(Kind.TOP_UP, amount, note, reference)
    return await _enter(gateway, actor, name, wanted, reason=reason)


async def adjust(
    gateway: AdminGateway,
    actor: Actor,
    name: AccountName,
    amount: str,
    *,
    note: str,
    reference: str | None = None,
    reason: str | None = None,
) -> Entered:
    """Corrects a balance by an amount of credits, up or down, with a note that says why.

    Raises:
        Problem: INVALID_LEDGER_ENTRY, REFERENCE_CONFLICT, INVALID_ACCOUNT, TENANT_NOT_FOUND,
            API_KEY_NOT_FOUND, INVALID_REASON.

    """
    wanted = _Wanted(Kind.ADJUSTMENT, amount, note, reference)
    return await _enter(gateway, actor, name, wanted, reason=reason)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """An entry as it is asked for, not checked yet."""

    kind: Kind
    amount: str
    note: str | None
    reference: str | None


@dataclass(frozen=True, slots=True)
class _Sound:
    """An entry that was checked."""

    kind: Kind
    microcredits: int
    note: str | None
    reference: str | None


async def _enter(
    gateway: AdminGateway, actor: Actor, name: AccountName, wanted: _Wanted, *, reason: str | None
) -> Entered:
    entry = _sound(wanted)
    if name.end_user is not None:
        detail = "an end user has limits, but no balance of their own: leave it out."
        refuse(INVALID_ACCOUNT, [FieldError("#/end_user", "conflict", detail)])
    account = await accounts.find(gateway, name, served=entry.kind is Kind.TOP_UP)
    return await audit.write(gateway, actor, reason, _add, gateway, name.tenant, account, entry)


def _add(
    connection: Connection, gateway: AdminGateway, tenant: str, account: Account, entry: _Sound
) -> tuple[Entered, Change]:
    from app.generations.queue import decide  # noqa: PLC0415 - a list needs nothing of requests

    is_new = ledger.add(
        connection,
        account.owner,
        account.scope,
        entry.kind,
        entry.microcredits,
        now_ms=gateway.clock.now_ms(),
        defaults=decide.policy_of(gateway.settings).default_limits,
        note=entry.note,
        reference=entry.reference,
    )
    standings = accounts.standings_in(connection, gateway, account)
    entered = Entered(tenant, account, is_new, entry.microcredits, entry.reference, standings)
    fields = {"microcredits": entry.microcredits, "reference": entry.reference}
    return entered, Change(
        action="ledger.top_up" if entry.kind is Kind.TOP_UP else "ledger.adjust",
        subject_kind="account",
        subject_id=account.label,
        tenant_id=account.owner.tenant_id,
        before=None if is_new else fields,
        after=fields | {"note": entry.note} if is_new else fields,  # the existing entry keeps its own note
    )


def _sound(wanted: _Wanted) -> _Sound:
    """Returns the checked entry, without blanks around its note and reference.

    Raises:
        Problem: INVALID_LEDGER_ENTRY.

    """
    microcredits, errors = _amount_of(wanted.kind, wanted.amount)
    note = (wanted.note or "").strip() or None
    reference = None if wanted.reference is None else wanted.reference.strip()
    if wanted.kind is Kind.ADJUSTMENT and note is None:
        errors.append(FieldError("#/note", "required", "an adjustment needs a note that says why."))
    errors += faults_of_text("#/note", "a note", note or "", max_length=MAX_NOTE)
    if reference is not None:
        errors += faults_of_text(
            "#/reference", "a reference", reference, min_length=1, max_length=MAX_REFERENCE
        )
    refuse(INVALID_LEDGER_ENTRY, errors)
    return _Sound(wanted.kind, microcredits, note, reference)


def _amount_of(kind: Kind, amount: str) -> tuple[int, list[FieldError]]:
    try:
        microcredits = parse_credits(amount)
    except LimitError as error:
        return 0, [FieldError("#/amount", "pattern", str(error))]
    detail = ""
    if kind is Kind.TOP_UP and microcredits <= 0:
        detail = "a top-up must be more than 0; `reelgate ledger adjust` reduces a balance."
    elif microcredits == 0:
        detail = "an adjustment by 0 changes nothing."
    return microcredits, [FieldError("#/amount", "range", detail)] if detail else []
