"""The web pages: static files over the JSON API, which load nothing from another host."""
