"""What `migrate` makes: migrations, roles, guards, and the tables of the rollups."""
