"""The admin pages of plans, policies, releases, tenants and people."""

from plans.admin import console, people, ways_in

__all__ = ["console", "people", "ways_in"]
