delete from signal.landed_files where done_at < now() - make_interval(days => %s)
