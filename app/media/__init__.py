"""Media that others host: probed by their first bytes, never decoded."""
