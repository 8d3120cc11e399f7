"""The catalogue: each model is one JSON file, compiled at load; requests are judged by it first.

Everything here but `catalog` is pure: no I/O, no clock.
"""
