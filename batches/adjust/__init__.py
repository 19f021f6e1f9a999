"""Change a plan while it runs: what is tighter acts at once, what is looser waits for approval."""
