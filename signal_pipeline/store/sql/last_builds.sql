select day, max(built_at), max(seconds) from signal.builds where day = any(%s) group by day
