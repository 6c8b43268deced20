delete from signal.landed_files where done_at < %s
