"""Read what reports say from the database, in a constant number of queries."""
