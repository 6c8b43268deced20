"""The pure rules of an event: what is accepted, how it is cleaned, how its user is hashed.

Nothing here knows of Dagster, of a database or of the network. It uses the catalogue and the
errors, nothing else of ours.
"""
