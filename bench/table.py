"""The table: its rows, how a comparison becomes a row, and the machine that was measured."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import psutil

from bench.measure import Cost


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    `met` says whether the row reaches its `target`; None if it has no target. `ratio` is None if
    the row has no peer.
    """

    what: str
    signal: str
    against: str = ""
    ratio: float | None = None
    cpu_ratio: float | None = None
    target: str = ""
    met: bool | None = None
    data: Mapping[str, object] = field(default_factory=dict)


def seconds(cost: Cost) -> str:
    """Return wall and CPU seconds."""
    return f"{cost.wall:.2f} s (CPU {cost.cpu:.2f} s)"


def per_event(cost: Cost) -> str:
    """Return events per second, and the CPU time of one event; `cost` is that of one event."""
    return f"{1 / cost.wall:,.0f}/s (CPU {cost.cpu * 1e6:.1f} µs)"


def faster(
    what: str,
    signal: Cost,
    name: str,
    peer: Cost,
    *,
    at_least: float | None = None,
    text: str = "s",
    note: str = "",
) -> Row:
    """Compare speeds: by which factor Signal is faster, for the same work or per event."""
    show = per_event if text == "event" else seconds
    ratio = peer.wall / signal.wall
    return Row(
        what,
        show(signal),
        f"{name}: {show(peer)}{note and f'; {note}'}",
        ratio,
        peer.cpu / signal.cpu if signal.cpu else None,
        f"≥ {at_least:g}×" if at_least else "",
        ratio >= at_least if at_least else None,
        {"signal": signal.as_dict(), "peer": peer.as_dict()},
    )


def slower(what: str, signal: Cost, name: str, peer: Cost, *, at_most: float | None = None) -> Row:
    """Compare times: by which factor Signal takes longer for the same work."""
    ratio = signal.wall / peer.wall
    return Row(
        what,
        seconds(signal),
        f"{name}: {seconds(peer)}",
        ratio,
        signal.cpu / peer.cpu if peer.cpu else None,
        f"≤ {at_most:g}×" if at_most else "",
        ratio <= at_most if at_most else None,
        {"signal": signal.as_dict(), "peer": peer.as_dict()},
    )


def limit(what: str, figure: float, unit: str, at_most: float | None = None, note: str = "") -> Row:
    """Return a row for a figure, with or without a bound."""
    return Row(
        what,
        f"{figure:,.4g} {unit}",
        note,
        target=f"≤ {at_most:g} {unit}" if at_most is not None else "",
        met=figure <= at_most if at_most is not None else None,
        data={"figure": figure, "unit": unit},
    )


def markdown(rows: Sequence[Row]) -> str:
    """Return the table as the documentation shows it."""
    lines = [
        "| what | Signal | beside it, same rows, same run | ratio (by CPU) | target | met |",
        "| --- | --- | --- | ---: | --- | --- |",
    ]
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.3g}×"
        cpu = "" if row.cpu_ratio is None else f" ({row.cpu_ratio:.3g}×)"
        met = {True: "yes", False: "**no**", None: ""}[row.met]
        lines.append(
            f"| {row.what} | {row.signal} | {row.against} | {ratio}{cpu} | {row.target} | {met} |"
        )
    return "\n".join(lines)


def machine() -> dict[str, object]:
    """Return the facts of the machine that was measured."""
    memory = psutil.virtual_memory().total / 2**30
    return {
        "cpus": os.cpu_count(),
        "processor": _processor(),
        "memory_gib": round(memory, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [
                line.partition(":")[2].strip() for line in file if line.startswith("model name")
            ]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or "unknown"
