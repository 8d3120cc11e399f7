"""Documents of requests, dispatch, credentials and processes, for operators."""
