"""The API: a federated GraphQL subgraph that stores events as files are stored (requirement 6).

It identifies callers, limits their rates, and calls `ingest`, `reports` and `privacy`. The rules of
an event are in `events`; the code that stores events is in `ingest`.
"""
