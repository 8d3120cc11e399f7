"""Statements: prepared once, of many rows, and put off within a transaction."""
