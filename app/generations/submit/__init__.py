"""Submits: from a request body to a recorded generation."""
