#!/usr/bin/env bash
# crawler-user-agents 1.67.0 (PyPI): is_crawler() is true for the WebView of an Android 15 phone, for
# Visual Studio Code's integrated browser and for Facebook's in-app browser.
# Its patterns `AP3A\.240617\.008` (a build number that several makers share), `Code\/1\.` and
# `MetaIAB Facebook` name what people look at pages with. The same strings without that token are no crawlers.
# Seen:
#   True  with the token, False without it: a phone's WebView
#   True  with the token, False without it: an editor's browser
#   True  with the token, False without it: an in-app browser
# Exits non-zero when a release of the list behaves otherwise.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check crawler-user-agents==1.67.0
"$folder/venv/bin/python" - <<'PYTHON'
from crawleruseragents import is_crawler

TAIL = "AppleWebKit/537.36 (KHTML, like Gecko)"
CASES = {
    "a phone's WebView": (
        "Mozilla/5.0 (Linux; Android 15; CPH2653 Build/{}; wv) "
        f"{TAIL} Version/4.0 Chrome/142.0.7444.102 Mobile Safari/537.36",
        ("AP3A.240617.008", "AP2A.240605.024"),
    ),
    "an editor's browser": (
        f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {TAIL} {{}} Chrome/142.0.7444.265 Electron/39.8.7 Safari/537.36",
        ("Code/1.117.0", "Editor/1.117.0"),
    ),
    "an in-app browser": (
        "Mozilla/5.0 (Linux; Android 16; Pixel 10 Build/CP1A.260305.018; wv) "
        f"{TAIL} Version/4.0 Chrome/146.0.7680.174 Mobile Safari/537.36 {{}}",
        ("MetaIAB Facebook", "Instagram 406.0"),
    ),
}
changed = False
for name, (text, (token, other)) in CASES.items():
    found, without = is_crawler(text.format(token)), is_crawler(text.format(other))
    print(f"{found!s:5} with the token, {without!s:5} without it: {name}")
    changed |= (found, without) != (True, False)
raise SystemExit(changed)
PYTHON
