"""REST: plans under way, what they measure, and everything that acts on them."""
