"""Cards, IBANs and phone numbers: found with their checksum or fixed form, and only then."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.private_texts import CARDS, IBANS

from signal_pipeline.events.pii import holds_pii


@pytest.mark.parametrize("iban", IBANS)
def test_an_iban_is_found_however_it_is_written_and_only_with_its_checksum(iban: str) -> None:
    compact = iban.replace(" ", "")
    for text in (
        compact,
        compact.lower(),
        iban.replace(" ", "-"),
        f"IBAN:{compact}.",
        f"IBAN{compact}",
        f"{compact[:4]} {compact[4:]}",
        f"{iban} mine",
        f"{iban} is it",
    ):
        assert holds_pii(text), text
    digit = str((int(compact[3]) + 1) % 10)
    assert not holds_pii(compact[:3] + digit + compact[4:])
    assert not holds_pii(compact + "0")


def luhn(digits: str) -> int:
    """The sum whose last digit must be 0: every second digit from the right counts twice."""
    doubled = (int(digit) * 2 for digit in reversed(digits[-2::-2]))
    return sum(number - 9 if number > 9 else number for number in doubled) + sum(
        map(int, digits[-1::-2])
    )


@given(
    st.sampled_from(["4", "51", "55", "2221", "34", "37", "36", "6011", "62", "3528"]),
    st.text("0123456789", min_size=20, max_size=20),
    st.sampled_from(["", " ", "-"]),
)
def test_every_number_of_a_card_is_found_and_no_other(
    start: str, filling: str, between: str
) -> None:
    length = {"34": 15, "37": 15, "36": 14, "62": 19}.get(start, 16)
    body = (start + filling)[: length - 1]
    right = next(body + digit for digit in "0123456789" if luhn(body + digit) % 10 == 0)
    for digits in (body + digit for digit in "0123456789"):
        text = digits
        if between and length == 16:
            text = between.join(digits[at : at + 4] for at in range(0, 16, 4))
        elif between and length == 15:
            text = between.join((digits[:4], digits[4:10], digits[10:]))
        assert holds_pii({"order": text}) is (digits == right)


@pytest.mark.parametrize("card", CARDS)
def test_a_card_as_a_number_is_found(card: str) -> None:
    for number in (int(card), -int(card)):
        assert holds_pii({"order": [number]})
        assert not holds_pii({"order": number + 1})
    if len(card) < 16:
        assert holds_pii(float(card))


def test_numbers_that_are_no_card_pass() -> None:
    for number in (
        0,
        1,
        -1,
        10**30,
        10**5_000,
        1e300,
        float("inf"),
        float("nan"),
        4111111111111111.5,
        1732099200000000,
    ):
        assert not holds_pii({"n": number})


@given(
    st.sampled_from(["7", "20", "49", "380", "998"]),
    st.text("0123456789", min_size=8, max_size=11),
    st.data(),
)
def test_every_phone_number_in_international_form_is_found(
    country: str, number: str, data: st.DataObject
) -> None:
    at = data.draw(st.integers(1, len(number) - 1))
    between = data.draw(st.sampled_from(["", " ", "-", "/"]))
    assert holds_pii(f"+{country}{between}{number[:at]}{between}{number[at:]}")
