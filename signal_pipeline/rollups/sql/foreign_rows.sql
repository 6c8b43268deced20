-- How many rows that a model gave are not of the day ($1).
select count(*) from {} where activity_date is distinct from $1
