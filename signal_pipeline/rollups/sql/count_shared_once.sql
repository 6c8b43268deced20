-- Corrects counts that count a session once for each of its users. Both inner queries read only the
-- events of such sessions: one counts them as the rows do, the other counts each session once.
update {temporary} as t
set {sessions} = t.{sessions} - o.excess
from (
    select {grain}, sum({sessions}) as excess
    from (
        select {grain}, {sessions} from ({per_user}) as p
        union all
        select {grain}, - {sessions} from ({once}) as q
    ) as both_counts
    group by {grain}
    having sum({sessions}) > 0
) as o
where {matches}
