"""PostgreSQL as a mechanism: connections, errors, the embedded server, SQL files. Knows no
event.
"""
