"""Commands for tenants, keys, tokens and portal links."""
