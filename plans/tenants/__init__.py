"""Tenants and what is installed for them, as they are imported."""
