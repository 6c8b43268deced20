select jsonb_build_object(
    'id', id, 'createdAt', created_at, 'appName', app_name, 'eventType', event_type, 'route', route,
    'entityType', entity_type, 'entityId', entity_id, 'userHash', encode(user_hash, 'hex'), 'sessionId', session_id,
    'deviceType', device_type, 'browserFamily', browser_family, 'osFamily', os_family,
    'clientEventId', client_event_id, 'description', description
)::text
from signal.events
where created_at >= %(start)s and created_at < %(end)s and user_hash = any(%(user_hashes)s)
order by created_at, id
