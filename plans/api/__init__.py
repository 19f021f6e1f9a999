"""REST: plans, who agreed to them, releases, people, the trail; what all endpoints share."""
