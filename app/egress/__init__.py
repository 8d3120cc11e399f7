"""The guarded way out: every URL that a stranger chose is fetched, or sent to, from here."""
