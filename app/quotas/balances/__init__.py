"""Balances: the ledger's entries, money, and statements."""
