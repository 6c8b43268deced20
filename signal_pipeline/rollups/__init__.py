"""The rollups: their models and the engines that compute them. No Dagster.

`models.py` loads `dbt_like_sql/`; `duckdb_engine.py` and `postgres_engine.py` compute a day.
"""
