"""Commands for requests, dispatch, credentials and processes."""
