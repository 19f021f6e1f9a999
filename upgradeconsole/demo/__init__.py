"""The demo: a fleet that behaves like a real one, and what fills a first console."""
