"""Documents of accounts, client tokens and the portal."""
