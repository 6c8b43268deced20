-- The last evaluation of each check stays.
delete from asset_check_executions
where
    create_timestamp < %(before)s
    and id not in (select max(id) from asset_check_executions group by asset_key, check_name, partition)
