"""Client tokens at work: minting them, and the log of what they were refused."""
