"""The wire: a federated GraphQL subgraph over the same ingest (requirement 6).

Thin: it finds out who is calling, limits rates, and calls `signal_pipeline.ingest.pipeline`, `reports` and `store`. What an event may
be stands in `events`, how it is stored in `store`.
"""
