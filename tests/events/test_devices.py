"""Device types.

They are right for labelled devices, the same in each mode of a device, and never contradict the
system.
"""

from __future__ import annotations

from collections import Counter

import pytest
from support.outside import needs

from faults.accuracy import LABELS, read_labels
from signal_pipeline.events.user_agents import parse_user_agent

needs_labels = needs(LABELS)
TAIL = "AppleWebKit/537.36 (KHTML, like Gecko)"
MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "


@needs_labels
def test_labelled_devices_are_right() -> None:
    """The list of models was made from most of these labels.

    docs/user-agents.md has the labels that it was not made from.
    """
    right, known = Counter[str](), Counter[str]()
    for item in read_labels():
        if item.kind == "person" and item.device:
            known[item.device] += 1
            right[item.device] += parse_user_agent(item.text).device_type == item.device
    assert right.total() / known.total() >= 0.99
    for device, count in known.items():
        assert right[device] / count >= 0.95, device


@needs_labels
def test_no_device_contradicts_its_system() -> None:
    for item in read_labels():
        agent = parse_user_agent(item.text)
        contradictions = {("desktop", "iOS"), ("mobile", "macOS")}
        assert agent.bot or (agent.device_type, agent.os_family) not in contradictions, item


@pytest.mark.parametrize(
    ("text", "device", "system"),
    [
        # An iPad that asks for desktop sites, in each browser that names itself
        (f"{MAC}CriOS/148.0.7778.0 Version/13.0.3 Safari/605.1.15", "tablet", "iOS"),
        (f"{MAC}CriOS/148 Version/11.1.1 Safari/605.1.15", "tablet", "iOS"),
        (f"{MAC}FxiOS/149.0 Safari/605.1.15", "tablet", "iOS"),
        (f"{MAC}EdgiOS/148.0 Version/17.0 Safari/605.1.15", "tablet", "iOS"),
        (f"{MAC}OPT/5.0 Safari/605.1.15", "tablet", "iOS"),
        (f"{MAC}Mobile/15E148 Safari/604.1", "tablet", "iOS"),
        # A Mac is a Mac. An iPad in Safari that says so too cannot be distinguished from it.
        (f"{MAC}Version/18.0 Safari/605.1.15", "desktop", "macOS"),
        # HarmonyOS, by its own words, whatever else is said
        (
            f"Mozilla/5.0 (PC; OpenHarmony 5.0) {TAIL} Chrome/114.0.0.0 Safari/537.36",
            "desktop",
            "Other",
        ),
        (
            (
                f"Mozilla/5.0 (PC; OpenHarmony 6.1; Windows NT 10.0) {TAIL} Chrome/132.0.0.0"
                " Safari/537.36"
            ),
            *("desktop", "Other"),
        ),
        (
            (
                f"Mozilla/5.0 (Windows NT 10.0; Win64; x64; PC; OpenHarmony 5.0) {TAIL}"
                " Chrome/114.0 Safari/537.36"
            ),
            *("desktop", "Other"),
        ),
        (
            f"Mozilla/5.0 (Phone; OpenHarmony 5.0) {TAIL} Chrome/114.0.0.0 Mobile Safari/537.36",
            "mobile",
            "Other",
        ),
        (
            f"Mozilla/5.0 (Tablet; OpenHarmony 5.0) {TAIL} Chrome/114.0.0.0 Safari/537.36",
            "tablet",
            "Other",
        ),
        # A headset has one type in each mode of its browser.
        (
            (
                f"Mozilla/5.0 (X11; Linux x86_64; Quest 3) {TAIL} OculusBrowser/38.0 Chrome/132.0"
                " VR Safari/537.36"
            ),
            *("unknown", "Android"),
        ),
        (
            (
                f"Mozilla/5.0 (Linux; Android 14; Quest 3) {TAIL} OculusBrowser/38.0 Chrome/132.0"
                " Mobile VR Safari/537.36"
            ),
            *("unknown", "Android"),
        ),
        (
            (
                f"Mozilla/5.0 (Linux; Android 12; Quest 2) {TAIL} OculusBrowser/38.0 Chrome/132.0"
                " VR Safari/537.36"
            ),
            *("unknown", "Android"),
        ),
        (
            f"Mozilla/5.0 (Linux; Android 12; Quest Pro) {TAIL} Chrome/120.0 Mobile Safari/537.36",
            "unknown",
            "Android",
        ),
        (
            (
                f"Mozilla/5.0 (Linux; Android 14; Quest 3S; wv) {TAIL} Chrome/120.0 Mobile"
                " Safari/537.36"
            ),
            "unknown",
            "Android",
        ),
        (
            f"Mozilla/5.0 (tablet; OpenHarmony 5.0) {TAIL} Chrome/114.0.0.0 Safari/537.36",
            "tablet",
            "Other",
        ),
        (
            (
                f"Mozilla/5.0 (X11; Linux armv7l) {TAIL} Chrome/84.0 Safari/537.36 VIZIO"
                " SmartCast(Conjure/MTKF-5.1)"
            ),
            "tv",
            "Linux",
        ),
        # Tablets whose names contain TV, and phones with a tuner
        (
            f"Mozilla/5.0 (Linux; Android 7.0; BTV-W09) {TAIL} Chrome/97.0 Safari/537.36",
            "tablet",
            "Android",
        ),
        (
            f"Mozilla/5.0 (Linux; Android 6.0; BTV-DL09) {TAIL} Chrome/72.0 Mobile Safari/537.36",
            "tablet",
            "Android",
        ),
        (
            (
                f"Mozilla/5.0 (Linux; Android 6.0; FlareS5LiteDTV) {TAIL} Chrome/70.0 Mobile"
                " Safari/537.36"
            ),
            "mobile",
            "Android",
        ),
        # Tablets that say Mobile, and that only a list of models knows
        (
            f"Mozilla/5.0 (Linux; Android 10; iPlay_20) {TAIL} Chrome/120.0 Mobile Safari/537.36",
            "tablet",
            "Android",
        ),
        # A console's app on a phone
        (
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 10_1_1 like Mac OS X) AppleWebKit/602.2.14"
                " (KHTML, like Gecko) Mobile/14B100 PlayStation Messages App/4.0.15"
            ),
            *("mobile", "iOS"),
        ),
    ],
)
def test_devices_and_systems(text: str, device: str, system: str) -> None:
    agent = parse_user_agent(text)
    assert (agent.bot, agent.device_type, agent.os_family) == (False, device, system)
