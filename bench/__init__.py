"""Signal's measurements: each row of one table beside a peer or a physical limit, on the same rows
in the same run.

`python -m bench` prints the table and writes `bench/results.json`. Here: what runs and how it is
measured. Peers stand in `peers/`, each in a file of its own; what was found, in
`docs/performance.md`.
"""
