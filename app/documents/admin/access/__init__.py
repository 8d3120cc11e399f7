"""Documents of tenants and keys, for operators."""
