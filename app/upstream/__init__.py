"""RunComfy as seen from here: one HTTP exchange at a time, and what each of them proves."""
