"""Sending generations to the upstream, once, and recording the outcome."""
