"""Operations on limits, usage, the ledger and statements."""
