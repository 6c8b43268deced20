-- What the checks of drops ask. Counts only, like the books: no hash, no session, no id of an event.

create table signal.intake (
    received_on date not null,
    app_name text collate "C" not null,
    outcome text collate "C" not null check (outcome in ('accepted', 'duplicate', 'dropped')),
    reason text collate "C" not null default '',
    events bigint not null check (events >= 0),
    changed_at timestamptz not null default clock_timestamp(),
    primary key (received_on, app_name, outcome, reason),
    check ((outcome = 'dropped') = (reason <> ''))
) with (fillfactor = 70);
comment on table signal.intake is
    'What was received together: the outcomes of the books by UTC day of receipt, not of the event.';

create table signal.bots (
    day date not null,
    app_name text collate "C" not null,
    browser_family text collate "C" not null,
    os_family text collate "C" not null,
    device_type text collate "C" not null,
    events bigint not null check (events >= 0),
    changed_at timestamptz not null default clock_timestamp(),
    primary key (day, app_name, browser_family, os_family, device_type)
) with (fillfactor = 70);
comment on table signal.bots is
    'What the books count as dropped with the reason bot, by the buckets of the user agents.'
    ' (not recorded): counted by a version before this table.';

-- Copy the bots that the books hold, so that the sum per day and app agrees with the books from the
-- first day on. changed_at is their day, since they were not added just now.
insert into signal.bots (day, app_name, browser_family, os_family, device_type, events, changed_at)
select day, app_name, '(not recorded)', '(not recorded)', '(not recorded)', sum(events), day
from signal.books
where outcome = 'dropped' and reason = 'bot'
group by day, app_name;
