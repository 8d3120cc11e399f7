"""Small tools that know nothing of the product: time, ids, secrets, JSON, logs and loops."""
