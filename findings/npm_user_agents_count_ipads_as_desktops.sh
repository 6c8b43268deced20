#!/usr/bin/env bash
# user-agents 2.1.198 (npm): its `deviceCategory` is computed from the user agent, not seen, so that an
# iPad in its default mode, which says that it is a Mac, is a desktop. The records carry the screen:
# of the 185 that are Safari on a Mac, 52 have the screen of an iPad, and all 52 are "desktop";
# 14 records say iPad. Who measures a device rule against `deviceCategory` measures it against another rule.
# Seen:
#   Safari on a Mac: 185, with an iPad's screen: 52, of these desktop: 52; records that say iPad: 14
# Exits non-zero when a release behaves otherwise.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm pack --silent user-agents@2.1.198 >/dev/null
tar xzf user-agents-2.1.198.tgz
python3 - <<'PYTHON'
import json

IPAD_SCREENS = {
    (744, 1133), (768, 1024), (810, 1080), (820, 1180), (834, 1112), (834, 1194), (834, 1210), (1024, 1366), (1032, 1376),
}
with open("package/dist/user-agents.json", encoding="utf-8") as file:
    records = json.load(file)
macs = [
    r for r in records
    if "Macintosh" in r["userAgent"] and "Version/" in r["userAgent"] and "Chrome" not in r["userAgent"]
]
ipads = [r for r in macs if tuple(sorted((r["screenWidth"], r["screenHeight"]))) in IPAD_SCREENS]
desktops = sum(r["deviceCategory"] == "desktop" for r in ipads)
said = sum("iPad" in r["userAgent"] for r in records)
print(
    f"Safari on a Mac: {len(macs)}, with an iPad's screen: {len(ipads)}, of these desktop: {desktops};"
    f" records that say iPad: {said}"
)
raise SystemExit((len(macs), len(ipads), desktops, said) != (185, 52, 52, 14))
PYTHON
