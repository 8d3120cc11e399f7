"""Tenants, keys, tokens and sign-ins: who may do what, and what is erased of them."""
