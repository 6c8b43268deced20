update signal.landed_files set byte_offset = %s where content_hmac = %s
