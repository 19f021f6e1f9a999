"""The Kpi dictionary: its file, its units, its names."""
