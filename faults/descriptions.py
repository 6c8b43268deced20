"""How many ordinary descriptions the search for personal data drops, measured on made-up ones.

`python -m faults.descriptions [--number N] [--seed S]` prints a table in Markdown: each kind of
value alone, ordinary keys alone, descriptions of several keys and values, and the descriptions of
simulated traffic. None of these tells anything about a person, so each drop is a false one. Private
values are tried by tests/events/test_private_keys.py and test_private_texts.py.
"""

from __future__ import annotations

import argparse
import base64
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from string import ascii_letters, ascii_uppercase, digits
from typing import Any

import yaml

from signal_pipeline.catalogue.load import load_catalogue
from signal_pipeline.events.pii import holds_pii
from signal_pipeline.simulation.traffic import simulate

Make = Callable[[Random], object]

PARTS: Mapping[str, Any] = yaml.safe_load(
    Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8")
)
WORDS, KEYS = PARTS["words"].split(), PARTS["keys"].split()


def _time(random: Random) -> datetime:
    return datetime(2015, 1, 1, tzinfo=UTC) + timedelta(
        microseconds=random.randrange(12 * 365 * 86_400 * 10**6)
    )


def _words(random: Random, least: int = 1, most: int = 6) -> list[str]:
    return random.choices(WORDS, k=random.randint(least, most))


def _one_of(values: list[str]) -> Make:
    return lambda random: random.choice(values)


def _times(random: Random) -> str:
    at, digits = _time(random), random.choice([0, 3, 6, 7, 9])
    fraction = f".{random.randrange(10**digits):0{digits}}" if digits else ""
    return random.choice(
        [
            at.strftime("%Y-%m-%dT%H:%M:%S")
            + fraction
            + random.choice(["Z", "+01:00", "-05:00", "+0530"]),
            at.strftime("%Y-%m-%d"),
            at.strftime("%d.%m.%Y %H:%M"),
            at.strftime("%m/%d/%Y, %I:%M:%S %p"),
            at.strftime("%a, %d %b %Y %H:%M:%S GMT"),
            at.strftime("%Y%m%dT%H%M%SZ"),
            at.strftime("%Y-W%V"),
        ]
    )


def _moments(random: Random) -> object:
    number = int(_time(random).timestamp() * random.choice([1, 10**3, 10**6, 10**9]))
    return random.choice([number, str(number)])


def _versions(random: Random) -> str:
    version = f"{random.randrange(30)}.{random.randrange(60)}.{random.randrange(9999)}"
    return random.choice(
        [
            version,
            f"v{version}",
            f"{version}-beta.{random.randrange(20)}",
            f"^{version}",
            f"{version}+2026{random.randrange(10**4):04}",
        ]
    )


def _hashes(random: Random) -> str:
    raw = random.randbytes(random.choice([4, 16, 20, 32, 64]))
    return random.choice(
        [
            raw.hex(),
            base64.b64encode(raw).decode(),
            base64.urlsafe_b64encode(raw).decode(),
            f"sha256-{raw.hex()}",
        ]
    )


def _colours(random: Random) -> str:
    r, g, b = random.choices(range(256), k=3)
    return random.choice(
        [
            f"#{r:02x}{g:02x}{b:02X}",
            f"rgba({r}, {g}, {b}, 0.{g})",
            f"hsl({r} {g % 100}% {b % 100}%)",
        ]
    )


def _css(random: Random) -> str:
    a, b, c, d = (round(random.uniform(-2, 300), random.randint(0, 6)) for _ in range(4))
    return random.choice(
        [
            f"translate({a}px, {b}px)", f"matrix({a}, {b}, {c}, {d}, 0, 0)", f"cubic-bezier({a}, {b}, {c}, {d})",
            f"{a}px {b}em auto", f"calc(100% - {a}px)", f"M{a},{b}L{c},{d}Z", f"linear-gradient({a}deg, #fff 0%, #000 {b}%)",
        ]
    )  # fmt: skip


def _timecodes(random: Random) -> str:
    h, m, s, f = (
        random.randrange(24),
        random.randrange(60),
        random.randrange(60),
        random.randrange(1000),
    )
    return random.choice(
        [
            f"{h:02}:{m:02}:{s:02}:{f % 25:02}",
            f"{h:02}:{m:02}:{s:02}.{f:03}",
            f"{m}:{s:02}",
            f"PT{m}M{s}S",
            f"{s}.{f:03} s",
            f"{h}h {m}m",
        ]
    )


def _numbers(random: Random) -> object:
    number = random.choice(
        [
            random.randrange(100),
            random.randrange(10**6),
            random.randrange(10**12),
            -random.randrange(10**4),
        ]
    )
    fine = round(random.uniform(-1000, 1000), random.randint(1, 12))
    return random.choice(
        [
            number,
            fine,
            str(number),
            f"{number:,}",
            f"{fine}",
            f"{abs(fine):.2f} €",
            [random.random() for _ in range(4)],
        ]
    )


def _pairs(random: Random) -> str:
    a, b = random.random(), random.random()
    return random.choice(
        [
            f"{a:.4f}, {b:.4f}", f"{100 * a:.2f}% {100 * b:.2f}%", f"{1920 * a:.1f},{1080 * b:.1f}",
            f"{a:.3f},{b:.3f},{a / 2:.3f},{b / 2:.3f}", f"{int(1920 * a)}x{int(1080 * b)}", f"{int(90 * a)} / {int(90 * b)}",
        ]
    )  # fmt: skip


def _files(random: Random) -> str:
    name, at = "-".join(_words(random)), _time(random)
    return random.choice(
        [
            f"{name}.{random.choice(['png', 'mp4', 'srt', 'tar.gz'])}",
            f"uploads/{at:%Y/%m/%d}/{uuid.UUID(int=random.getrandbits(128))}/{name}.jpg",
            f"IMG_{at:%Y%m%d_%H%M%S}.JPG",
            f"s3://media-bucket/{name}/{random.randbytes(8).hex()}.m3u8",
            f"VID-{at:%Y%m%d}-WA{random.randrange(10**4):04}.mp4",
            f"{name} ({random.randrange(9)}).pdf",
        ]
    )


def _links(random: Random) -> str:
    path = "/".join(_words(random))
    return random.choice(
        [
            f"https://www.example.org/{path}",
            f"http://example.com:8080/{path}/",
            f"example.org/{path}.html#{random.choice(WORDS)}",
            f"/{path}/[id]",
        ]
    )


def _ids(random: Random) -> str:
    letters = ascii_letters + digits
    return random.choice(
        [
            "".join(random.choices(letters, k=random.choice([8, 11, 21, 22]))),
            f"{random.choice(WORDS)}_{random.randrange(10**8)}",
            f"INV-2026-{random.randrange(10**6):06}",
            "".join(random.choices(digits + ascii_uppercase, k=26)),
        ]
    )


def _long_numbers(random: Random) -> object:
    number = random.randrange(10 ** random.randint(9, 19))
    return random.choice([number, str(number)])


KINDS: Mapping[str, Make] = {
    "titles and search texts": lambda random: " ".join(_words(random)).title(),
    "sentences and shortcuts": _one_of(PARTS["sentences"]),
    "names of languages, in many scripts": _one_of(PARTS["languages"]),
    "codes, patterns, types": _one_of(PARTS["codes"]),
    "dates and times": _times,
    "Unix times, s to ns": _moments,
    "timecodes and durations": _timecodes,
    "versions of three parts": _versions,
    "UUIDs": lambda random: str(uuid.UUID(int=random.getrandbits(128))),
    "hashes, hex and Base64": _hashes,
    "other ids": _ids,
    "colours": _colours,
    "CSS and SVG": _css,
    "numbers": _numbers,
    "pairs and boxes": _pairs,
    "files and S3 keys": _files,
    "links without a query": _links,
    "random numbers of 9 to 19 digits": _long_numbers,
    "barcodes (EAN-13)": lambda random: f"{random.randrange(10**12, 10**13)}",
}
RARE = {"random numbers of 9 to 19 digits", "barcodes (EAN-13)"}  # Not in mixed descriptions.


def mixed(random: Random) -> dict[str, object]:
    """Return a description of one to five ordinary keys; one value in ten is a list or object."""
    found: dict[str, object] = {}
    kinds = [make for name, make in KINDS.items() if name not in RARE]
    for key in random.sample(KEYS, random.randint(1, 5)):
        value = random.choice(kinds)(random)
        found[key] = random.choices(
            [value, [value, value], {random.choice(KEYS): value}], [18, 1, 1]
        )[0]
    return found


def report(number: int, seed: int) -> list[str]:
    """Return the table's rows."""
    random = Random(seed)
    rows = ["| what | how many | dropped |", "| --- | ---: | ---: |"]
    rows += [
        _row(name, [{"value": make(random)} for _ in range(number)]) for name, make in KINDS.items()
    ]
    rows.append(_row("ordinary keys, each once", [{key: None} for key in KEYS]))
    rows.append(
        _row(
            "**descriptions of one to five of these**", [mixed(random) for _ in range(10 * number)]
        )
    )
    rows.append(_row("descriptions of simulated traffic", simulated(10 * number, seed)))
    return rows


def simulated(events: int, seed: int) -> list[Mapping[str, object]]:
    """Return the descriptions of a simulated day, without those that are spoilt on purpose."""
    found = []
    chunks = simulate(
        catalogue=load_catalogue(), days=1, events_per_day=events, end=date(2026, 11, 20), seed=seed
    )
    for line in b"".join(chunks).splitlines():
        try:
            description = json.loads(line).get("description")
        except ValueError:
            continue
        if description and not {"contact", "note", "text"} & description.keys():
            found.append(description)
    return found


def _row(name: str, values: Sequence[object]) -> str:
    dropped = sum(map(holds_pii, values))
    return f"| {name} | {len(values):,} | {dropped:,} ({100 * dropped / len(values):.3f} %) |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m faults.descriptions", description=__doc__)
    parser.add_argument(
        "--number", type=int, default=10_000, help="of each kind; ten times as many descriptions"
    )
    parser.add_argument("--seed", type=int, default=20261128)
    options = parser.parse_args()
    print("\n".join(report(options.number, options.seed)))


if __name__ == "__main__":
    main()
