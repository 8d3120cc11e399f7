"""Authentication: tenants, their API keys and client tokens, and the principals that those stand for."""
