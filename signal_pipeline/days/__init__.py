"""What is known of a UTC day: its calendar, freshness, quality, profile, coverage and receipt."""
