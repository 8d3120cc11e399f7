"""Comparisons of what is stored with what it must be: sums, files, and RunComfy's bill."""
