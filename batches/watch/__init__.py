"""The watch: reads the facts of each live plan, decides, and does."""
