"""Webhook endpoints and their deliveries, of all tenants."""
