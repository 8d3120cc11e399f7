"""The queue in front of RunComfy: which generations are queued, and which may be sent next."""
