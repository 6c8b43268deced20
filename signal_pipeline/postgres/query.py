"""SQL files: each is in the folder `sql/` of the package that it belongs to, except migrations."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import LiteralString


@cache
def query(package: str, name: str) -> LiteralString:
    """Return the text of `sql/<name>.sql` in a package, as in `query(__package__, "due_days")`."""
    return (files(package) / "sql" / f"{name}.sql").read_text(encoding="utf-8")
