"""Stored looks judged once more: as they were, or under other rules."""
