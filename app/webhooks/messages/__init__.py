"""Messages: what is told, and the row that is written with the change it tells of."""
