"""Limits, usage, the ledger and statements: what was allowed, spent and charged."""
