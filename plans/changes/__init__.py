"""What an edited policy changes for a plan that runs, change by change. Pure."""
