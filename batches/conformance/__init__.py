"""Hold the console's own functions to published reference cases."""
