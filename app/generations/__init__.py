"""Generations: one durable record per paid job, and the only ways in which it may change."""
