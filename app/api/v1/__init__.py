"""The routes of version 1 of the API."""
