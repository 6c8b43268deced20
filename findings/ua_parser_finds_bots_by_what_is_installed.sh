#!/usr/bin/env bash
# ua-parser takes more user agents for bots when ua-parser-rs is installed beside it.
#
# Versions: ua-parser 1.0.2, ua-parser-builtins 202610, google-re2 1.1.20251105, ua-parser-rs
# 0.1.5, crawler-user-agents 1.67.0 (for its examples), Python 3.11.
#
# ua-parser runs its rules with Python's `re`, with google-re2 or in Rust, whichever is installed,
# the last one first. Its rule for the device "Spider" looks for words such as `bot` and `crawl`
# behind `^.{0,100}`, so near the beginning of the user agent. ua-parser-rs reads a bound of three
# digits as no bound, to save memory. It then finds these words anywhere. The user agent of Chrome
# on Linux alone has 101 characters, so what a bot writes behind it is a bot with ua-parser-rs
# only.
#
# The guide compares the three by speed, portability, memory and safety, and does not say that
# answers differ. The project takes all such bounds for "non-functional" (uap-core's issue 596):
# they were added to keep `re` fast. Here one has an effect, which issue 590 complains of. So who
# counts bots by this device gets other counts after a change of packages, with the same rules and
# the same versions of them.
#
# One invented bot that names itself behind Chrome's user agent, the same in front of it, and the
# 2,123 examples of crawler-user-agents. Seen on 2026-11-30:
#   ua-parser alone: behind None, in front Spider, 1266 of 2123 examples Spider
#   with google-re2: behind None, in front Spider, 1266 of 2123 examples Spider
#   with ua-parser-rs: behind Spider, in front Spider, 1324 of 2123 examples Spider
#
# Exits 0 if it still is so, 1 if it is not. Needs Python 3.11 and its package index.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

cat >run.py <<'PY'
import json
import sys
from importlib.resources import files

from ua_parser import parse_device

BOT = "(compatible; ExampleBot/1.0)"
ENGINE = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/148.0.0.0 Safari/537.36"
BEHIND = f"Mozilla/5.0 (X11; Linux x86_64) {ENGINE} {BOT}"
IN_FRONT = f"Mozilla/5.0 {BOT} {ENGINE}"


def family(user_agent: str) -> str | None:
    """Return the family of the device."""
    device = parse_device(user_agent)
    return device.family if device else None


crawlers = json.loads(files("crawleruseragents").joinpath("crawler-user-agents.json").read_text())
examples = [example for crawler in crawlers for example in crawler.get("instances", [])]
spiders = sum(family(example) == "Spider" for example in examples)
print(
    f"{sys.argv[1]}: behind {family(BEHIND)}, in front {family(IN_FRONT)},"
    f" {spiders} of {len(examples)} examples Spider"
)
PY

cat >expected <<'END'
ua-parser alone: behind None, in front Spider, 1266 of 2123 examples Spider
with google-re2: behind None, in front Spider, 1266 of 2123 examples Spider
with ua-parser-rs: behind Spider, in front Spider, 1324 of 2123 examples Spider
END

python3 -m venv venv
pip() { venv/bin/pip install --quiet --disable-pip-version-check "$@"; }
{
    pip ua-parser==1.0.2 ua-parser-builtins==202610 crawler-user-agents==1.67.0
    venv/bin/python run.py "ua-parser alone"
    pip google-re2==1.1.20251105
    venv/bin/python run.py "with google-re2"
    pip ua-parser-rs==0.1.5
    venv/bin/python run.py "with ua-parser-rs"
} | tee seen
diff expected seen
