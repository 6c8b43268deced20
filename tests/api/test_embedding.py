"""The README's five lines, as another service would run them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only

README = Path(__file__).parents[2] / "README.md"


def test_the_readme_embeds_the_ingest_without_dagster_and_without_the_api(
    environment: Settings, tmp_path: Path
) -> None:
    found = re.search(r"## Embedding.*?```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert found
    check = (
        "import sys; print([name for name in ('dagster', 'strawberry', 'starlette') if name in"
        " sys.modules])"
    )
    code = f"{found[1]}\n{check}"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == ["1 0 Counter()", "[]"], done.stderr
    again = subprocess.run(
        [sys.executable, "-c", found[1]], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert again.stdout == "0 1 Counter()\n"
