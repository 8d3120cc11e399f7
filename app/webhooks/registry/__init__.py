"""Endpoints: their terms, secrets and subscriptions."""
