"""The catalogue of models: each model is one JSON file, compiled when the gateway starts.

A request is validated against its model before anything else happens. All modules here except `catalog` are
pure: no I/O and no clock.
"""
