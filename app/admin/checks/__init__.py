"""The doctor's checks, and the conditions that an operator is told of."""
