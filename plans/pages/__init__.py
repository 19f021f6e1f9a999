"""The pages of plans, releases, keys, tenants, people and the trail."""
