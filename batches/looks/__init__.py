"""Looks at Kpis: when one is due, taken, kept, and dropped."""
