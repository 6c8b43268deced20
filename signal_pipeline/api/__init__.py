"""The API: a federated GraphQL subgraph, whose events use the same ingest as files (requirement 6).

It identifies callers, limits their rates, and calls `ingest`, `reports` and `privacy`. The rules of
an event are in `events`; the code that stores events is in `ingest`.
"""
