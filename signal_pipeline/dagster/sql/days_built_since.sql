select count(distinct day) from signal.builds where day = any(%(days)s) and built_at >= %(since)s
