"""Guarded outgoing HTTP: every URL that a stranger chose is fetched, or sent to, through this package."""
