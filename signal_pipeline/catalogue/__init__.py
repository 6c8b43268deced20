"""The catalogue of what Signal accepts: its file, its loader, and its TypeScript."""
