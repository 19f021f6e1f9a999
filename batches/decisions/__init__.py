"""What to do next with a plan: its facts, and one pure function from them to one action."""
