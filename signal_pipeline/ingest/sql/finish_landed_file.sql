update signal.landed_files set done_at = now() where content_hmac = %s
