"""Umami's tables, and its statement for a breakdown by properties of a visitor.

Both follow Umami's public source (version 3, PostgreSQL). The tables have the columns and indexes
that the statement could use. The statement has the same joins, groups and counts as Umami's. A
visitor (a `session_id` of Umami) is here our user of a day, and a visit is our session. The real
Umami recognises a visitor for longer, so it has fewer visitors.
"""

from __future__ import annotations

from datetime import datetime

from signal_pipeline.postgres.database import Connection

_SITE = "'00000000-0000-4000-8000-000000000001'::uuid"
_TABLES = (
    f"""create table session as
    select md5(user_hash::text)::uuid as session_id, {_SITE} as website_id,
        min(browser_family) as browser, min(os_family) as os, min(device_type) as device,
        min(created_at) as created_at
    from signal.events group by user_hash""",
    "alter table session add primary key (session_id)",
    "create index on session (website_id, created_at)",
    f"""create table website_event as
    select id as event_id, {_SITE} as website_id, md5(user_hash::text)::uuid as session_id,
        coalesce(session_id, id) as visit_id, created_at, coalesce(route, '/') as url_path,
        1 as event_type, event_type as event_name, app_name as hostname
    from signal.events""",
    "alter table website_event add primary key (event_id)",
    "create index on website_event (website_id, created_at)",
    "create index on website_event (website_id, session_id, created_at)",
    "create index on website_event (website_id, visit_id, created_at)",
)
_BREAKDOWN = f"""
select
    sum(visits.views) as views,
    count(distinct visits.session_id) as visitors,
    count(distinct visits.visit_id) as visits,
    sum(case when visits.views = 1 then 1 else 0 end) as bounces,
    sum(floor(extract(epoch from visits.last_at - visits.first_at))) as seconds,
    visits.browser,
    visits.device
from (
    select session.browser, session.device, event.session_id, event.visit_id, count(*) as views,
        min(event.created_at) as first_at, max(event.created_at) as last_at
    from website_event as event
    inner join session
        on event.session_id = session.session_id and event.website_id = session.website_id
    where event.website_id = {_SITE} and event.created_at between %s and %s
        and event.event_type = 1
    group by session.browser, session.device, event.session_id, event.visit_id
) as visits
group by visits.browser, visits.device
order by views desc, visitors desc
limit 500
"""


def fill(connection: Connection) -> None:
    """Make Umami's tables from every stored event."""
    for statement in _TABLES:
        connection.execute(statement.encode())
    for table in ("session", "website_event"):
        connection.execute(f"vacuum analyze {table}".encode())


def breakdown(connection: Connection, start: datetime, end: datetime) -> int:
    """Count by browser and device between two times, both included; return the number of events."""
    rows = connection.execute(_BREAKDOWN.encode(), [start, end]).fetchall()
    return sum(int(row[0]) for row in rows)
