"""The evidence test: sequential, honest about many looks, and what soaks can find by it."""
