#!/usr/bin/env bash
# ua-parser 1.0.2 with ua-parser-builtins 202610 and ua-parser-rs 0.1.5 (PyPI): a browser that states its
# version without a minor is taken for another browser, or for none. Firefox Focus on iOS states
# `FxiOS/149`, and Chrome's version is one number to most people who build a user agent by hand.
# Seen (family, major):
#   FxiOS/149.0  Firefox iOS 149     FxiOS/149   Mobile Safari None
#   Chrome/148.0 Chrome 148          Chrome/148  Safari None
#   OPT/5.0      Opera Touch 5       OPT/5       Mobile Safari UI/WKWebView None
#   Firefox/149.0 Firefox 149        Firefox/149 None None
# Of the same list, CriOS/148, Edg/148 and Ddg/18 are read without a minor.
# Exits non-zero when a release behaves otherwise.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    ua-parser==1.0.2 ua-parser-builtins==202610 ua-parser-rs==0.1.5
"$folder/venv/bin/python" - <<'PYTHON'
from ua_parser import parse_user_agent

IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
CASES = [
    (IPHONE + "FxiOS/149{} Mobile/15E148 Safari/605.1.15", ("Firefox iOS", "149"), ("Mobile Safari", None)),
    (WINDOWS + "Chrome/148{} Safari/537.36", ("Chrome", "148"), ("Safari", None)),
    (IPHONE + "OPT/5{} Mobile/15E148", ("Opera Touch", "5"), ("Mobile Safari UI/WKWebView", None)),
    (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:149.0) Gecko/20100101 Firefox/149{}",
        ("Firefox", "149"),
        (None, None),
    ),
]


def read(text):
    found = parse_user_agent(text)
    return (found.family, found.major) if found else (None, None)


changed = False
for text, with_minor, without_minor in CASES:
    seen = read(text.format(".0")), read(text.format(""))
    print(f"{seen[0]!s:28} {seen[1]!s:44} {text.format('')[-32:]}")
    changed |= seen != (with_minor, without_minor)
raise SystemExit(changed)
PYTHON
