create temporary table if not exists stage (
    id uuid not null,
    created_at timestamptz not null,
    app_name text collate "C" not null,
    event_type text collate "C" not null,
    route text collate "C",
    entity_type text collate "C",
    entity_id text collate "C",
    user_hash bytea not null,
    session_id uuid,
    device_type text collate "C" not null,
    browser_family text collate "C" not null,
    os_family text collate "C" not null,
    client_event_id uuid not null,
    description jsonb,
    day date not null
) on commit delete rows
