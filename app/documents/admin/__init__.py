"""The documents of the admin API, which the commands print too: one module for each noun."""
