"""Alerts: what people must be told, and where it is told when the database cannot be asked."""
