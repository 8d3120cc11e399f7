"""Who calls: tenants, their API keys, and the principal that a valid key stands for."""
