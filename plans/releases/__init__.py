"""Releases and the keys that sign them: registered, trusted, quarantined."""
