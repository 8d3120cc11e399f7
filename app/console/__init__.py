"""The web pages, static, over the JSON API. Nothing is loaded from another host."""
