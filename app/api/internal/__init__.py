"""Handlers for the operator, and for the gateway's own pages."""
