"""What tenants were like before: Kpis recorded minute by minute, rolled up, forgotten in time."""
