"""Plain reads and submits, answered without the layers of the application."""
