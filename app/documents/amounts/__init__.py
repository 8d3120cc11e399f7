"""Documents of limits, quotas, usage, the ledger and statements."""
