"""Request and response headers that have rules of their own."""
