"""Following generations to their end, and telling whoever watches."""
