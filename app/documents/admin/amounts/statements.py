"""Statements, as operators read them."""

from typing import Annotated, TypedDict

from app.auth.keys import Mode
from app.documents.amounts.ledger import LedgerEntry
from app.documents.amounts.statements import StatementSummary, summary
from app.documents.schema import keywords
from app.quotas.balances.statements import Statement


class TenantStatement(StatementSummary):
    """A closed month of a tenant. Opening - held + refunded + added + adjusted = closing balance, always."""

    tenant: Annotated[str, keywords("The tenant's name.")]
    mode: Mode


class TenantStatementPage(TypedDict):
    """A page of statements, the newest month first."""

    statements: list[TenantStatement]
    next_cursor: str | None


class TenantStatementInFull(TenantStatement):
    """A closed month with a page of its entries, the oldest first."""

    entries: list[LedgerEntry]
    next_cursor: str | None


class ClosedStatements(TypedDict):
    """What was closed."""

    closed: Annotated[int, keywords("The number of months that had ended and were not closed.")]


class WrongStatement(TypedDict):
    """A statement that differs from the ledger."""

    tenant: Annotated[str, keywords("The tenant's name.")]
    mode: Mode
    month: str
    detail: Annotated[str, keywords("How it differs.")]


class VerifiedStatements(TypedDict):
    """The statements, compared with the ledger."""

    statements: Annotated[int, keywords("The number of statements that were compared.")]
    differences: list[WrongStatement]


def tenant_statement(tenant: str, one: Statement) -> TenantStatement:
    """Returns a statement without its entries."""
    return {**summary(one), "tenant": tenant, "mode": "live" if one.owner.mode == "live" else "test"}
