"""Metrics and pipeline events that are sent to the console."""
