create temporary table if not exists staged_keys (
    client_event_id uuid not null,
    day date not null
) on commit delete rows
