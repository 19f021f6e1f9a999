"""Guard the trail: checked as a whole, and anchored outside of the database."""
