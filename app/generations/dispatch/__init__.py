"""Dispatch: sending a generation to RunComfy once, and recording the outcome."""
