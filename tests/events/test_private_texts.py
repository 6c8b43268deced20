"""Private texts in a description: found in every disguise, while ordinary texts pass."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support.private_texts import ORDINARY, PRIVATE

from faults.accuracy import LABELS, read_labels
from signal_pipeline.events.pii import holds_pii


@pytest.mark.parametrize("text", PRIVATE)
def test_a_private_text_is_found_as_value_and_as_key(text: str) -> None:
    assert holds_pii({"note": text})
    assert holds_pii({"note": ["x", {"deep": f"so {text} it is"}]})
    assert holds_pii({text: 1})


@pytest.mark.parametrize("text", PRIVATE)
def test_a_private_text_is_found_in_disguise(text: str) -> None:
    percent = quote(text, safe="")
    wide = "".join(chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter for letter in text)
    numbers = "".join(f"&#{ord(letter)};" for letter in text)
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in text)
    blank = text.replace(" ", "\u00a0").replace("-", "\u2011")
    for disguise in (
        percent,
        quote(percent),
        "\u200b".join(text),
        "\u2066".join(text),
        numbers,
        escaped,
        blank,
    ):
        assert holds_pii([disguise]), disguise
    if not set(text) & set("'\"’”°º′″´"):  # NFKC splits these.
        assert holds_pii([wide])


@pytest.mark.parametrize("text", ORDINARY)
def test_an_ordinary_text_passes(text: str) -> None:
    assert not holds_pii({"note": text})


@given(st.binary(min_size=6, max_size=6), st.sampled_from([":", "-"]), st.booleans())
def test_every_mac_address_is_found(raw: bytes, between: str, upper: bool) -> None:
    text = raw.hex(between)
    assume(between == ":" or not text.replace("-", "").isdecimal())
    assert holds_pii(f"at {text.upper() if upper else text}.")


def test_json_inside_a_text_is_searched_for_keys_and_texts() -> None:
    for inner in ({"currentUser": 1}, {"note": "+43 664 1234567"}, {"a": [{"mac": 1}]}):
        assert holds_pii({"payload": json.dumps(inner)})
        assert holds_pii({"payload": json.dumps(json.dumps(inner))})


@pytest.mark.parametrize(
    "text",
    [
        *(
            "+1 " * 20_000,
            "1 " * 40_000,
            "4111 " * 16_000,
            "DE89 " * 16_000,
            "://" * 26_000,
            "?a" * 40_000,
            "00:" * 26_000,
        ),
        *(
            "48.2082, " * 9_000,
            "tel:1 " * 13_000,
            "a-" * 40_000,
            "12° " * 20_000,
            "(202) 555-" * 8_000,
            "lat=" * 20_000,
        ),
        *(
            "1.1234" * 13_000,
            "+1-" * 26_000,
            "x://a" * 16_000,
            "(" * 80_000,
            "1" * 80_000,
            "+" + "1" * 80_000,
            "/5" * 40_000,
            "(linux; " * 10_000,
            "opera/9." * 10_000,
        ),
    ],
)
def test_long_hostile_texts_are_judged(text: str) -> None:
    # Quadratic work on one of these would take minutes.
    assert holds_pii({"a": text}) in (True, False)


def test_an_address_in_full_is_found_with_a_port_too() -> None:
    assert holds_pii("2001:db8:0:0:0:0:0:1")
    assert holds_pii("2001:db8:0:0:0:0:0:1:8080")


@pytest.mark.skipif(not LABELS.is_file(), reason=f"{LABELS.name} is not beside the checkout")
def test_the_user_agents_of_people_are_found() -> None:
    people = [item.text for item in read_labels() if item.kind == "person"]
    assert len(people) > 10_000
    assert [text for text in people if not holds_pii({"browser": text})] == []
