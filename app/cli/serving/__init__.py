"""Commands that run servers and workers, and that replace or reload them."""
