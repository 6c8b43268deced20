"""The usage page: one HTML file that shows what the rollups know, and makes no request.

`facts.py` reads one snapshot. `split.py`, `sections.py` and `charts.py` are pure: they turn cells
into figures. `drawing.py` draws the charts, `render.py` fills the template, and `files.py` keeps
the weekly pages. The page has no script: the charts are SVG, and the CSV files are links that hold
their own data.
"""
