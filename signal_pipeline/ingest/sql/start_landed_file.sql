insert into signal.landed_files (content_hmac, bytes) values (%s, %s)
on conflict (content_hmac) do update set bytes = signal.landed_files.bytes
returning byte_offset, done_at
