"""Reelgate: a gateway in front of RunComfy's asynchronous media generation API."""
