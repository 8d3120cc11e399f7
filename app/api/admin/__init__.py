"""The admin API: routes made of the table of operations, and their contract."""
