insert into signal.builds as b
    (day, rollup, version, model_checksum, engine, rows, raw_events, seconds, built_at, first_built_at)
values
    (%(day)s, %(rollup)s, %(version)s, %(model_checksum)s, %(engine)s, %(rows)s, %(raw_events)s,
    %(seconds)s, clock_timestamp(), clock_timestamp())
on conflict (day, rollup) do update set
    version = excluded.version,
    model_checksum = excluded.model_checksum,
    engine = excluded.engine,
    rows = excluded.rows,
    raw_events = excluded.raw_events,
    seconds = excluded.seconds,
    built_at = excluded.built_at,
    first_built_at = case
        when b.model_checksum = excluded.model_checksum then b.first_built_at else excluded.first_built_at
    end
where b.version <= excluded.version
returning version
