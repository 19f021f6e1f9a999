"""The pages of plans under way, and the forms on them."""
