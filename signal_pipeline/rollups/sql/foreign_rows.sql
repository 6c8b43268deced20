-- How many of a model's rows do not belong to the day ($1).
select count(*) from {} where activity_date is distinct from $1
