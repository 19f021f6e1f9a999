"""What is shown of a plan under way, and how it reaches open pages."""
