"""The SQL files of this package: statements of the loader's tables and of the engines."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import LiteralString


@cache
def sql(name: str) -> LiteralString:
    """The text of `rollups/<name>.sql`."""
    return (files("signal_pipeline.rollups") / f"{name}.sql").read_text(encoding="utf-8")
