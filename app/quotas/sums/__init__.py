"""Sums that are kept beside the ledger: roll-ups, usage, and stored bytes."""
