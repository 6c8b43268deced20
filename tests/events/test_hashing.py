"""The hashes against openssl: as constants, and live where openssl is installed.

The constants come from, with S the secret:

    KEY=$(printf '%s' "$S" | od -An -v -tx1 | tr -d ' \\n')
    mac() { openssl dgst -sha256 -mac HMAC -macopt hexkey:$1 | sed 's/.*= //'; }
    SALT=$(printf '2026-11-23' | mac $KEY)
    printf 'admin.example.org\\x1f203.0.113.7\\x1fChrome|120|macOS' | mac $SALT
    printf 'signal/key-id' | mac $KEY
    printf '{"eventType":"journey_create_clicked"}' | mac $(printf 'signal/event-id' | mac $SALT)
"""

from __future__ import annotations

import shutil
import subprocess
from datetime import date, datetime, timedelta
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signal_pipeline.events.hashing import (
    DayHasher,
    WeakSecretError,
    check_secret,
    daily_salt,
    key_id,
)

SECRET = "correct horse battery staple, 0123456789 ü"
DAY = date(2026, 11, 23)
SALT = "3a3b12d9475acf3f0c673b08a44b7f6385f2aa104316101b5ff037419cf06dcc"
USERS = {
    (
        "admin.example.org",
        "203.0.113.7",
        "Chrome|120|macOS",
    ): "679ac7f25a278cf0e5229fd39feeb131a0debfeef15d42c364f42cda30cab8dd",
    ("cms.example.org", "", ""): "55c10f54e2eb51f103d039e7218a235a5dc96a6f82aa13721f5146456512306c",
    (
        "admin.example.org",
        "2001:db8::1",
        "unknown||unknown",
    ): "5195b26dd90327b622ed9cf76db8ca436bd911c885fee6ed6c8f91cccda5ebbd",
}

canonical_texts = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=40)


def openssl_mac(key: bytes, message: bytes) -> bytes:
    return subprocess.run(
        ["openssl", "dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{key.hex()}", "-binary"],
        input=message,
        capture_output=True,
        check=True,
    ).stdout


def test_salt_matches_openssl() -> None:
    assert daily_salt(check_secret(SECRET), DAY).hex() == SALT


@pytest.mark.parametrize(("parts", "expected"), USERS.items())
def test_user_hash_matches_openssl(parts: tuple[str, str, str], expected: str) -> None:
    assert DayHasher(check_secret(SECRET), DAY).user_hash(*parts).hex() == expected


def test_key_id_matches_openssl() -> None:
    assert key_id(check_secret(SECRET)) == "e336ee7d"


def test_event_id_matches_openssl_with_the_bits_of_a_version_8_uuid() -> None:
    # openssl says b7c9b746 8f01 add1 564c 47a64144f666...: version and variant replace six bits.
    event_id = DayHasher(check_secret(SECRET), DAY).event_id(
        b'{"eventType":"journey_create_clicked"}'
    )
    assert event_id == UUID("b7c9b746-8f01-8dd1-964c-47a64144f666")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
@pytest.mark.parametrize(
    ("secret", "day", "parts"),
    [
        ("x" * 32, date(2024, 2, 29), ("a", "", "")),
        ("ключ" * 20, date(2026, 1, 1), ("admin.example.org", "2001:db8::ffff", "Safari|17|iOS")),
        ("s" * 200, date(999, 12, 31), ("münchen.example", "192.0.2.1", "Other|1|Other")),
    ],
)
def test_live_openssl_gives_the_same(secret: str, day: date, parts: tuple[str, str, str]) -> None:
    salt = openssl_mac(secret.encode(), f"{day:%Y-%m-%d}".rjust(10, "0").encode())
    assert daily_salt(check_secret(secret), day) == salt
    expected = openssl_mac(salt, "\x1f".join(parts).encode())
    assert DayHasher(check_secret(secret), day).user_hash(*parts) == expected


def test_one_hasher_gives_the_same_hash_again_after_others() -> None:
    hasher = DayHasher(check_secret(SECRET), DAY)
    first = hasher.user_hash("a", "b", "c")
    hasher.event_id(b"between")
    hasher.user_hash("x", "y", "z")
    assert hasher.user_hash("a", "b", "c") == first


@given(canonical_texts, canonical_texts, canonical_texts)
def test_the_same_person_is_unrelated_across_days_and_secrets(host: str, ip: str, ua: str) -> None:
    today = DayHasher(b"k" * 32, DAY).user_hash(host, ip, ua)
    assert len(today) == 32
    assert DayHasher(b"k" * 32, DAY).user_hash(host, ip, ua) == today
    assert DayHasher(b"k" * 32, DAY + timedelta(days=1)).user_hash(host, ip, ua) != today
    assert DayHasher(b"l" * 32, DAY).user_hash(host, ip, ua) != today


@given(canonical_texts, canonical_texts, canonical_texts)
def test_moving_text_between_the_parts_changes_the_hash(host: str, ip: str, ua: str) -> None:
    hasher = DayHasher(b"k" * 32, DAY)
    assert hasher.user_hash(host + "x", ip, ua) != hasher.user_hash(host, "x" + ip, ua)
    assert hasher.user_hash(host, ip + "x", ua) != hasher.user_hash(host, ip, "x" + ua)


@given(st.binary(max_size=200))
def test_event_ids_are_version_8_uuids_and_no_user_hashes(line: bytes) -> None:
    hasher = DayHasher(b"k" * 32, DAY)
    event_id = hasher.event_id(line)
    assert (event_id.version, event_id.variant) == (8, RFC_4122)
    assert event_id == DayHasher(b"k" * 32, DAY).event_id(line)
    assert event_id != DayHasher(b"k" * 32, DAY + timedelta(days=1)).event_id(line)


def test_a_line_that_spells_a_user_reveals_nothing_of_the_users_hash() -> None:
    hasher = DayHasher(b"k" * 32, DAY)
    user = hasher.user_hash("h", "i", "u")
    event_id = hasher.event_id(b"h\x1fi\x1fu")
    assert event_id.bytes[:6] != user[:6]


@pytest.mark.parametrize("secret", ["", "x" * 31, "é" * 15])
def test_a_secret_below_32_bytes_is_refused_without_being_told(secret: str) -> None:
    with pytest.raises(WeakSecretError) as caught:
        check_secret(secret)
    assert not secret or secret not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_secret_counts_in_bytes_and_is_not_decoded() -> None:
    assert check_secret("é" * 16) == "é".encode() * 16
    assert check_secret("ab" * 16) == b"ab" * 16
    assert check_secret(" " + "x" * 32 + "\n") == b" " + b"x" * 32 + b"\n"


def test_a_secret_that_is_not_utf8_is_refused_without_being_told() -> None:
    secret = "private-part-of-it-" * 3 + "\udcff"
    with pytest.raises(WeakSecretError) as caught:
        check_secret(secret)
    assert "private" not in str(caught.value)
    # The original error contains the secret, so it must not be printed along.
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_datetime_is_not_a_day() -> None:
    with pytest.raises(TypeError):
        daily_salt(b"k" * 32, datetime(2026, 11, 23, 12))


def test_a_hasher_shows_nothing_of_its_salt() -> None:
    salt = daily_salt(b"k" * 32, DAY)
    hasher = DayHasher(b"k" * 32, DAY)
    held = [getattr(hasher, name) for name in hasher.__slots__]
    assert salt not in held
    assert salt.hex() not in repr(hasher) + repr(held)
