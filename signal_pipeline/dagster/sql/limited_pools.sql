-- The pools in Dagster's storage that have a limit of their own.
select concurrency_key from concurrency_limits where not using_default_limit
