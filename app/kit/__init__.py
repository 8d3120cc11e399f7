"""General-purpose tools that know nothing of the product: time, ids, secrets, JSON, logs, tasks and loops."""
