"""What a process has of its machine and of others: clocks, leases, wake-ups, disk room."""
