"""The database: a transaction is a plain function of a `Connection`, the same on SQLite and PostgreSQL."""
