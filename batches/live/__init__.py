"""What is shown of plans, before, under way and after, and how it reaches open pages."""
