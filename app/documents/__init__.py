"""Documents: every shape on the wire, once.

A shape is a TypedDict; the function beside it fills one, and `published` makes the contract's schemas from
the same TypedDicts. What a type cannot say (a description, a format, a bound) stands in its `Annotated`.
Documents are plain dicts: nothing is validated when an answer is made, mypy holds fillers to their shapes.
"""
