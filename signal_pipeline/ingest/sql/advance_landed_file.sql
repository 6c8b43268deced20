-- It changes nothing if another drain has stored more of the file meanwhile.
update signal.landed_files set byte_offset = %s where content_hmac = %s and byte_offset = %s
