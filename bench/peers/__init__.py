"""The peers that Signal is measured against, each honestly tuned and in a file of its own."""
