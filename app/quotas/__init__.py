"""Quotas: limits of tenants, keys and end users, the usage that counts against them, and the ledger.

A generation's amounts are held in the transaction that inserts it, against all of its limits or against none,
and settled or refunded in the transaction that ends it. So limits are exact. Only limits on calls other than
submits are counted in memory (`quotas.calls`).
"""
