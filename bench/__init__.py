"""Signal's measurements: one table, in which each row stands beside a peer or a physical limit.

Both sides get the same data in the same run. `python -m bench` prints the table and writes
`bench/results.json`. This package decides what runs and how it is measured. The peers are in
`peers/`, each in a file of its own. The results are in `docs/performance.md`.
"""
