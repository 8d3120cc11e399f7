"""The log of deliveries: listed, replayed and kept for a time."""
