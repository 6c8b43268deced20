"""Two builds of Signal asked in turn: this tree, and another revision of it.

The builds can differ in every module, so a measure uses only what users meet: commands, variables,
`signal_pipeline.definitions`, GraphQL over HTTP, and tables. Each build fills an embedded database
of its own with the same lines. The database has the build's own settings of PostgreSQL, and what
they cost counts as a cost of the build.
"""
