"""A simulation of RunComfy's Model API: same routes and shapes, own state, real media, no network."""
