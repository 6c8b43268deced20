#!/usr/bin/env bash
# msgspec 0.22.0 (PyPI): a time with more than six digits of a second is rounded to microseconds, so
# that the last half microsecond of a day is decoded as the next day, and that of a year as the next year.
# .NET writes seven digits, Go and Java up to nine. datetime.fromisoformat of the standard library cuts them.
# Seen:
#   2026-12-31T23:59:59.9999999Z   msgspec 2027-01-01 00:00:00+00:00          datetime 2026-12-31 23:59:59.999999+00:00
#   2026-12-31T23:59:59.999999500Z msgspec 2027-01-01 00:00:00+00:00          datetime 2026-12-31 23:59:59.999999+00:00
#   2026-12-31T23:59:59.999999499Z msgspec 2026-12-31 23:59:59.999999+00:00   datetime 2026-12-31 23:59:59.999999+00:00
# Exits non-zero when a release behaves otherwise.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check msgspec==0.22.0
"$folder/venv/bin/python" - <<'PYTHON'
from datetime import datetime

import msgspec

CASES = {
    "2026-12-31T23:59:59.9999999Z": 2027,
    "2026-12-31T23:59:59.999999500Z": 2027,
    "2026-12-31T23:59:59.999999499Z": 2026,
}
decode = msgspec.json.Decoder(datetime).decode
changed = False
for text, year in CASES.items():
    rounded, cut = decode(f'"{text}"'.encode()), datetime.fromisoformat(text)
    print(f"{text:30} msgspec {rounded!s:34} datetime {cut}")
    changed |= (rounded.year, cut.year) != (year, 2026)
raise SystemExit(changed)
PYTHON
