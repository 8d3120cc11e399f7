"""Operations on tenants, keys, tokens and portal links."""
