"""Signing in to the console by OpenID Connect: authorization code with PKCE, state and nonce."""
