"""Deliveries: claimed, signed, sent and judged."""
