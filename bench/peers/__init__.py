"""What Signal is measured against: each peer honestly tuned, in a file of its own."""
