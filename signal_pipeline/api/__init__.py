"""The wire: a federated GraphQL subgraph over the same ingest (requirement 6).

It finds out who is calling, limits rates, and calls `ingest`, `reports` and `privacy`. The rules of
an event are in `events`, and how it is stored in `ingest`.
"""
