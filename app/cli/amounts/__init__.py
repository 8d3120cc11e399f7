"""Commands for limits, usage, the ledger and statements."""
