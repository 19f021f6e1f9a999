"""Emergencies: acting without the approvers, and the files that help when the database is away."""
