"""Upgrade Console: plugin upgrades over many tenants, taken back within three minutes."""

__version__ = "0.1.0"
