"""Client tokens in use: minting them, and the log of the requests that they were refused."""
