#!/usr/bin/env bash
# ua-parser 1.0.2 with ua-parser-builtins 202610 and ua-parser-rs 0.1.5 (PyPI): WebKit that names no
# browser is "Apple Mail", with the version of WebKit: a Mac's WebView, a PlayStation's, an Apple TV's.
# The same bare form on an iPhone is "Mobile Safari UI/WKWebView".
# Seen:
#   Apple Mail 605                     Macintosh, PlayStation 5, Apple TV
#   Mobile Safari UI/WKWebView None    iPhone
# Exits non-zero when a release behaves otherwise.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    ua-parser==1.0.2 ua-parser-builtins==202610 ua-parser-rs==0.1.5
"$folder/venv/bin/python" - <<'PYTHON'
from ua_parser import parse_user_agent

WEBKIT = "AppleWebKit/605.1.15 (KHTML, like Gecko)"
CASES = {
    "Macintosh; Intel Mac OS X 10_15_7": ("Apple Mail", "605"),
    "PlayStation; PlayStation 5/2.26": ("Apple Mail", "605"),
    "Apple TV; CPU OS 17_0 like Mac OS X": ("Apple Mail", "605"),
    "iPhone; CPU iPhone OS 18_7 like Mac OS X": ("Mobile Safari UI/WKWebView", None),
}
changed = False
for platform, expected in CASES.items():
    mobile = " Mobile/15E148" if "iPhone" in platform else ""
    found = parse_user_agent(f"Mozilla/5.0 ({platform}) {WEBKIT}{mobile}")
    seen = (found.family, found.major) if found else (None, None)
    print(f"{seen[0]} {seen[1]}: {platform}")
    changed |= seen != expected
raise SystemExit(changed)
PYTHON
