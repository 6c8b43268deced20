"""The pure rules of one event: what is accepted, how it is cleaned, and how its user is hashed.

Nothing here knows Dagster, a database or the network. Of Signal's own packages, it uses only the
catalogue, the reader of strict YAML in `texts`, and the errors.
"""
