"""Connections, readers and writers of SQLite and of PostgreSQL."""
