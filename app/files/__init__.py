"""Files that callers upload: their rows, how they come in, and how they are named and shown."""
