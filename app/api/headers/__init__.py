"""Request and response headers with rules of their own."""
