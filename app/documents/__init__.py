"""Documents: every JSON shape that callers send or receive, defined once.

A shape is a TypedDict. The function beside it fills one, and `published` makes the contract's schemas from
the same TypedDicts. What a type cannot express (a description, a format, a bound) is in its `Annotated`.
Documents are plain dicts: mypy checks that functions fill their shapes, and nothing is validated at run time.
"""
