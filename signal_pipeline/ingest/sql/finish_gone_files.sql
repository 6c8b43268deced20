-- Files that a drain began and nobody can go on with, since the landing is empty.
update signal.landed_files set done_at = now() where done_at is null
