"""Policies: the file, its meaning, and its words."""
