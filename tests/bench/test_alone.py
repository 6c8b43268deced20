"""The bench works on servers of its own, whatever the settings of who runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
# Stands for `signal-pipeline dev --port N`: it writes down the settings that it finds, and answers.
DEV = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from signal_pipeline.settings import load_settings

class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

found = load_settings()
(found.home / "found").write_text(f"{found.database_url} {found.landing_dir} {found.retention_days}")
HTTPServer(("127.0.0.1", int(sys.argv[3])), Answer).serve_forever()
"""
PROGRAM = """
import json, sys
from pathlib import Path
from bench import freshness

freshness.COMMAND = [sys.executable, "-c", sys.argv[2]]
bench = freshness.Bench(Path(sys.argv[1]))
with bench.dev():
    print(json.dumps([bench.settings.retention_days, (bench.home / "found").read_text()]))
"""


@pytest.mark.embedded_only
def test_no_setting_of_the_user_reaches_the_bench_or_its_dev(tmp_path: Path) -> None:
    home, checkout = tmp_path / "home", tmp_path / "checkout"
    home.mkdir(mode=0o755)
    checkout.mkdir()
    (checkout / ".env").write_text("SIGNAL_LANDING_DIR=landing-of-the-user\n")
    (checkout / ".env").chmod(0o600)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(home), DEV],
        cwd=checkout,
        env={
            **os.environ,
            "PYTHONPATH": str(PROJECT),
            "SIGNAL_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/of_the_user",
            "SIGNAL_ENV": "development",
            "SIGNAL_RETENTION_DAYS": "33",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [180, "None None 180"]
