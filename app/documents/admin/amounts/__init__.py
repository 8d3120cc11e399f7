"""Documents of limits, the ledger and statements, for operators."""
