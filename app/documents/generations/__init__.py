"""Documents of models, requests, their events, and files."""
