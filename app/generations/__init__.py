"""Generations: one durable record for each paid job, and the only functions that may change it."""
