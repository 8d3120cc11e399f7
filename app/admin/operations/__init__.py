"""The operations of the admin API, one module for each noun; `every` has them all in one table.

A command imports the module of its noun alone.
"""
