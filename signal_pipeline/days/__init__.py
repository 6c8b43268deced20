"""What is known about a UTC day: calendar, freshness, quality, profile, coverage and receipt."""
