select {all}
from signal.{rollup}
where activity_date = %(day)s
order by events desc, {columns}
limit %(rows)s
