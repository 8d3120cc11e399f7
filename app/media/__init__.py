"""Media files that others host: identified by their first bytes, never decoded."""
