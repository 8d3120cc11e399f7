"""The tables, and the states in their rows."""
