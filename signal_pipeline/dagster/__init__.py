"""What Dagster runs and shows: assets, checks, jobs, schedules, sensors, and their decisions.

Only this package and `definitions.py` import Dagster.
"""
