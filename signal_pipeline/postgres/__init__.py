"""PostgreSQL as a mechanism: connections, errors, the embedded server, SQL files.

It knows nothing about events.
"""
