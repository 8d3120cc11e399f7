"""Quotas hold exactly: what a tenant or a key may use, what is held, what is spent, and the ledger of it.

Everything is taken in the transaction that makes a generation, together or not at all, and given back or
made final in the transaction that ends it. Nothing of it is ever kept in memory, but for limits on calls that
are no submits.
"""
