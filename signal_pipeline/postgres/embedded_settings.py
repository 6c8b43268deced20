"""The settings of the embedded server, which fit the machine: the file `signal.conf` in its data.

They come from `embedded.conf`.
"""

from __future__ import annotations

import re
import shutil
from importlib.resources import files
from pathlib import Path

import psutil


def write_settings(folder: Path) -> None:
    """Write `signal.conf`, which `postgresql.conf` includes; it takes effect at the next start."""
    template = (files(__package__) / "embedded.conf").read_text(encoding="utf-8")
    memory = psutil.virtual_memory().total // 2**20
    text = template.format(
        shared_buffers=max(128, min(2048, memory // 8)),
        effective_cache_size=max(256, memory // 2),
        maintenance_work_mem=max(64, min(512, memory // 32)),
    )
    settings = folder / "signal.conf"
    if settings.exists() and settings.read_text() == text:
        return
    main = folder / "postgresql.conf"
    if not re.search(r"(?m)^include 'signal\.conf'", main.read_text()):
        with main.open("a") as file:
            file.write("\ninclude 'signal.conf'\n")
    settings.write_text(text)
    shutil.copystat(main, settings)
    settings.chmod(0o644)
