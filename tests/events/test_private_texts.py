"""Texts that a checksum or a fixed form makes private, and texts that only look so.

The checksums are worked out by the test's own arithmetic.
"""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from signal_pipeline.events.pii import holds_pii

# Numbers that issuers publish for tests, of each known brand.
CARDS = (
    *(
        "4111111111111111",
        "4012888888881881",
        "4000000000000000006",
        "5555555555554444",
        "5105105105105100",
    ),
    *(
        "2223003122003222",
        "2720990000000015",
        "378282246310005",
        "341111111111111",
        "30569309025904",
    ),
    *(
        "38520000023237",
        "6011111111111117",
        "6500000000000002",
        "6200000000000005",
        "3530111333300000",
    ),
    *("6759649826438453", "6304000000000000", "2200000000000004"),
)
# The IBAN registry's own examples, of each length and kind.
IBANS = (
    *(
        "NO93 8601 1117 947",
        "BE68 5390 0754 7034",
        "DK50 0040 0440 1162 43",
        "NL91 ABNA 0417 1643 00",
    ),
    *("MK07 2501 2000 0058 984", "AT61 1904 3002 3457 3201", "CH93 0076 2011 6238 5295 7"),
    *("DE89 3704 0044 0532 0130 00", "GB29 NWBK 6016 1331 9268 19", "IL62 0108 0000 0009 9999 999"),
    *(
        "ES91 2100 0418 4502 0005 1332",
        "PT50 0002 0123 1234 5678 9015 4",
        "FR14 2004 1010 0505 0001 3M02 606",
    ),
    *("PL61 1090 1014 0000 0712 1981 2874", "BR18 0036 0305 0000 1000 9795 493C 1"),
    *("MU17 BOMM 0101 1010 3030 0200 000M UR", "MT84 MALT 0110 0001 2345 MTLC AST0 01S"),
)
PHONES = (
    *(
        "+43 664 1234567",
        "+436641234567",
        "+43 (664) 123-45-67",
        "+44 20 7946 0958",
        "+44 (0)20 7946 0958",
    ),
    *("+1 202 555 0123", "+1-202-555-0123", "+1 (202) 555-0123", "+12025550123", "+1.202.555.0123"),
    *(
        "+49 30/1234567",
        "+33 1 99 00 12 34",
        "+ 43 664 1234567",
        "+91 98765 43210",
        "+598 2345 6789",
    ),
    *(
        "(202) 555-0123",
        "202-555-0123",
        "tel:+43-664-1234567",
        "tel:0664123456",
        "Tel.: 0664 123 456",
    ),
    *("fax: 01/234 56 78", "callto:12345678", "phone: 2025550123"),
)
MACS = (
    "00:1a:2b:3c:4d:5e",
    "00:1A:2B:3C:4D:5E",
    "12:34:56:78:90:12",
    "00-1A-2B-3C-4D-5E",
    "001a.2b3c.4d5e",
    "mac:00:1a:2b:3c:4d:5e",
)
PLACES = (
    *("48.2082, 16.3738", "48.2082,16.3738", "-33.8688, 151.2093", "16.3738;48.2082"),
    *(
        "at 48.20817 , 16.37382 now",
        "@48.2082,16.3738,15z",
        "(40.7128, -74.0060)",
        "geo:48.2082,16.3738",
    ),
    *(
        "geo:48.2082,16.3738;u=35",
        "GEO:-33.8688,151.2093",
        """48°12'30"N 16°22'26"E""",
        "48°12′30″N",
        "48° 12' N",
    ),
    *(
        "N 48° 12.500'",
        "48º12’30”N",
        "48.2082° N, 16.3738° E",
        "48.2082 N, 16.3738 E",
        "33.87 S 151.21 E",
    ),
    *(
        "POINT(16.3738 48.2082)",
        "point (16.3738 48.2082)",
        "lat=48.2&lng=16.3",
        "lat: 48.21",
        "latitude = -33.86",
    ),
)
URLS = (
    *(
        "https://www.example.org/a?token=abc",
        "https://example.org/?a",
        "http://example.org/a/b?x=1&y=2#z",
    ),
    *("//example.org/a?b=c", "/reset?token=abc", "reset?token=abc", "see www.example.org?q=x."),
    *("https://example.org/#access_token=abc", "https://example.org/a#id_token=x&state=y"),
    *(
        "https://jane:secret@example.org/",
        "https://jane@example.org:8080/x",
        "postgres://app:secret@db/signal",
    ),
    *("ftp://anonymous@ftp.example.org", "https://example.org/a?filter[name]=x"),
    *("https://example.org/a?%65mail=x",),
)
PRIVATE = (*CARDS, *IBANS, *PHONES, *MACS, *PLACES, *URLS)

ORDINARY = (
    # Numbers that look like one of these
    *(
        "4111111111111112",
        "1234567890123456",
        "0.4111111111111111",
        "14111111111111111",
        "a4111111111111111",
    ),
    *("4111-1111 1111-1111", "4006381333931", "9783161484100", "1732099200000", "1732099200000000"),
    *(
        "1732099200000000000",
        "20261123101530",
        "DE88 3704 0044 0532 0130 00",
        "DE89 3704 0044 0532 0130 0",
    ),
    *("XX89 3704 0044 0532 0130 00", "de12", "GB2026", "be60b7fe-381a-9713-7bb8-ee3d0502bccc"),
    *(
        "b09dd44e-8e57-ee36-b095-666afb71e0ff",
        "550e8400-e29b-41d4-a716-446655440000",
        "+1",
        "+25 %",
        "+100",
    ),
    *(
        "+1 000 000",
        "+20261123",
        "1.2.0+20261123",
        "v2.0.0-rc.1+20261123101530",
        "UTC+02:00",
        "GMT +0200",
    ),
    *(
        "+0000123456789",
        "+48.208123",
        "a+12345678",
        "q=a+12345678901",
        "+1 2 3 4 5 6 7 8 9",
        "1+1=2",
    ),
    *(
        "C++ 20261123",
        "+1 202 555 012",
        "123-456-7890",
        "2026-000123",
        "100-200-3000",
        "(123) 456-7890",
    ),
    *(
        "202-555-01234",
        "SKU 202-555-0123-A",
        "tel: 123",
        "hotel: 1234567",
        "01:02:03:04",
        "01:02:03:04:05",
    ),
    *(
        "26-11-23-10-15-30",
        "1234.5678.9012",
        "00:1a:2b:3c:4d",
        "a1:00:1a:2b:3c:4d:5e",
        "00:1a:2b:3c:4d:zz",
    ),
    *("12.34.56", "2026-11-23-10-15-30", "aa-bb-cc-dd-ee-ff-gg"),
    # Chains that are longer than an address, and drawings
    *(
        "aa:bb:cc:dd:ee:ff:00:11:22:33:44:55:66:77:88:99",
        ":".join(["a1"] * 20),
        ":".join(["0f"] * 32),
    ),
    *(
        "translate(12.5000, 13.5000)",
        "M 10.1234,20.5678 L 30.1234,40.5678",
        "scale: 1.2345, 1.2345",
    ),
    *("M10.1234,20.5678 C 30.1234,40.5678 50.1234,60.5678", "rotate(45 10.1234, 20.5678)"),
    *(
        'viewBox="0 0 10.1234, 20.5678"',
        "point (1.5 2.5)",
        "geo:1,2",
        "matrix(1, 0, 0, 1, 12.3456, 65.4321)",
    ),
    # Pairs that are no place
    *(
        "0.5234, 0.4821",
        "1.50, 2.25",
        "12.345, 67.890",
        "0.25, 0.1, 0.25, 1.0",
        "48.2082, 16.3738, 171.0",
    ),
    *(
        "1.2.3, 4.5678",
        "123.45678, 456.78901",
        "translate(12.5px, 40.25px)",
        "M12.34567,45.67891L1.2,3.4",
    ),
    *(
        "48.2082",
        "90 °C",
        "48° turn",
        "5'10\"",
        "12.50 N",
        "point (1 2)",
        "point 4 (of 12)",
        "flat: 1.5",
    ),
    *("lat: north", "geography:1,2", "geo", "1.5 s, 2.5 e.g."),
    # Links and texts without a query
    *(
        "https://www.example.org/a/b",
        "https://www.example.org/a#part",
        "https://example.org/@jane/post",
    ),
    *("is it? yes=1", "a ? b : c = d", "What is 2 + 2?", "see https://example.org/a?"),
    *(
        "http://example.org:8080/",
        "E = mc²",
        "a=b&c=d",
        "x?.y ?? z",
        "file?.txt",
        "a?b=!1:c",
        "x ?y==z",
        "(?P=name)",
        "?",
        "?=",
        "https://",
        "://",
    ),
    *("://@", "//comment @todo"),
)


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


@given(st.floats(-90, 90), st.floats(-180, 180), st.sampled_from([", ", ",", ";"]))
def test_every_place_is_found_in_either_order(
    latitude: float, longitude: float, between: str
) -> None:
    assume(max(abs(latitude), abs(longitude)) > 1.1)
    here, there = f"{latitude:.5f}", f"{longitude:.5f}"
    for pair in ((here, there), (there, here)):
        assert holds_pii(f"at {between.join(pair)} now")
        assert not holds_pii(f"[{between.join((*pair, '1.25'))}]")


@given(st.binary(min_size=6, max_size=6), st.sampled_from([":", "-"]), st.booleans())
def test_every_mac_address_is_found(raw: bytes, between: str, upper: bool) -> None:
    text = raw.hex(between)
    assume(between == ":" or not text.replace("-", "").isdecimal())
    assert holds_pii(f"at {text.upper() if upper else text}.")


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
        ),
    ],
)
def test_long_hostile_texts_are_judged(text: str) -> None:
    # Quadratic work on one of these would take minutes.
    assert holds_pii({"a": text}) in (True, False)


def test_coordinates_as_numbers_are_found() -> None:
    for position in (
        [52.520008, 13.404954],
        [-151.2093, -33.8688],
        [13.404954, 52.520008, 35.12345],
    ):
        assert holds_pii({"a": position})
        assert holds_pii({"a": [{"b": [position, position]}]})
    for numbers in (
        [52, 13],
        [52.52, 13.4],
        [52.520008, 13],
        [0.52001, 0.13002],
        [200.12345, 13.12345],
        [52.520008],
    ):
        assert not holds_pii({"a": numbers})
    assert not holds_pii({"a": [float("nan"), float("inf")]})


@pytest.mark.parametrize(
    "text", ["translate(12.5000, 13.5000) at 48.2082, 16.3738", "I'm 48.2082, 16.3738"]
)
def test_a_drawing_hides_no_place(text: str) -> None:
    assert holds_pii(text)


def test_an_address_in_full_is_found_with_a_port_too() -> None:
    assert holds_pii("2001:db8:0:0:0:0:0:1")
    assert holds_pii("2001:db8:0:0:0:0:0:1:8080")
