"""What is known about a UTC day: its calendar, freshness, quality, profile, coverage and receipt."""
