"""RunComfy as seen from the gateway: single HTTP exchanges, and what each of them proves."""
