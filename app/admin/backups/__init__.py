"""Backups, restoring one, and what is archived."""
