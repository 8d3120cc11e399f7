"""Submits: from a request's body to a recorded generation."""
