"""What Dagster runs and shows: assets, checks, jobs, schedules, sensors, and what they decide.

The only package that imports Dagster, beside `definitions.py`.
"""
