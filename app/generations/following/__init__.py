"""Following generations to their end, and telling subscribers about their events."""
