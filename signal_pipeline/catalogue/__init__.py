"""What Signal accepts: apps, event types, entity types, formats of ids, and its TypeScript."""
