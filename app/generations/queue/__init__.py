"""The queue in front of the upstream: who waits, and what may be sent next."""
