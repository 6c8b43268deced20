"""The search for marks finds what it should, in every form.

A leak test whose search is blind would always pass.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faults.marks import hits, hits_in_files, needles

MARK = "leak.mark+5521@private-mail.example"
RAW = MARK.encode()
FORMS = {
    "plain": RAW,
    "lower case": RAW.lower(),
    "hex": RAW.hex().encode(),
    "upper hex": RAW.hex().upper().encode(),
    "URL": quote(MARK, safe="").encode(),
    "UTF-16": MARK.encode("utf-16-le"),
    "md5": hashlib.md5(RAW, usedforsecurity=False).hexdigest().encode(),
    "sha1": hashlib.sha1(RAW, usedforsecurity=False).digest(),
    "sha256": hashlib.sha256(RAW).hexdigest().upper().encode(),
    "Base64 of sha256": base64.b64encode(hashlib.sha256(RAW).digest()).rstrip(b"="),
}


@pytest.mark.parametrize("planted", FORMS.values(), ids=FORMS.keys())
def test_every_form_is_found(planted: bytes) -> None:
    wanted = needles({"mark": MARK})
    assert hits(wanted, b"before " + planted + b" behind")
    assert not hits(wanted, b"before  behind")


@given(st.binary(max_size=40), st.binary(max_size=40), st.booleans())
def test_base64_of_any_text_around_the_mark_is_found(
    before: bytes, behind: bytes, url_safe: bool
) -> None:
    encode = base64.urlsafe_b64encode if url_safe else base64.b64encode
    assert hits(needles({"mark": MARK}), encode(before + RAW + behind))


def test_files_are_searched(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "clean").write_bytes(b"nothing")
    dirty = tmp_path / "dirty"
    dirty.write_bytes(b"x" * 10_000 + RAW)
    assert set(hits_in_files(needles({"mark": MARK}), tmp_path.iterdir())) == {str(dirty)}
