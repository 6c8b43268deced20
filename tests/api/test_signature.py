"""The gateway's canonical JSON and signature, against JavaScript itself and by properties."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.node import node_environment

from signal_pipeline.api.identity.signature import (
    canonical_json,
    parse_wire_json,
    signature_is_valid,
    signature_of,
)

STRINGIFY = Path(__file__).with_name("stringify.js")
SECRET = b"0123456789abcdef"
texts = st.text(st.characters(codec=None, categories=None), max_size=12)  # Lone surrogates too.
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
FIXED = [
    '{"b":1e-7,"a":1E21,"c":-0.0,"d":5e-324,"e":1.7976931348623157e308,"f":123456789012345680000,"g":0.1}',
    '{"\\ud83d\\ude00":1,"\\uffff":2,"\\ud800":3,"z":4,"10":5,"9":6,"":7}',
    '{"a":"\\u0000\\u001f\\u007f\\u2028\\u2029\\"\\\\\\/\\b\\f\\n\\r\\t\\ud800x\\udc00"}',
    "[[],{},[{}],null,true,false,1,-1,1.5]",
]


@pytest.mark.skipif(
    shutil.which("node") is None,
    reason="node is missing: JavaScript's own canonical form was not asked",
)
def test_it_is_what_javascript_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODE_OPTIONS", "--require=/of/the/developer")  # Node would not start.
    drawn: list[str] = [*FIXED]

    @settings(max_examples=400, database=None)
    @given(values)
    def collect(value: object) -> None:
        drawn.append(json.dumps(value))

    collect()
    done = subprocess.run(
        ["node", STRINGIFY],
        input="\n".join(drawn).encode(),
        capture_output=True,
        check=True,
        env=node_environment(),
    )
    answers = [json.loads(line) for line in done.stdout.decode().split("\n")]
    assert len(answers) == len(drawn)
    for wire, expected in answers:
        assert canonical_json(parse_wire_json(wire.encode())) == expected


@pytest.mark.parametrize(
    "literal", ["1e-7", "1e+21", "5e-324", "0.1", "-0", "100000000000000000000", "1.5e300"]
)
def test_numbers_stay_as_they_were_written(literal: str) -> None:
    assert (
        canonical_json(parse_wire_json(f'{{"a":[{literal}]}}'.encode())) == f'{{"a":[{literal}]}}'
    )


@given(values)
@example({"a": {"b": [1, 2.5, "x"]}})
def test_the_canonical_text_means_the_same_and_is_its_own_canonical_text(value: object) -> None:
    text = canonical_json(parse_wire_json(json.dumps(value).encode()))
    assert json.loads(text) == value
    assert canonical_json(parse_wire_json(text.encode())) == text


def test_the_signature_is_the_published_formula() -> None:
    text = '{"query":"{ a }","variables":{"x":1e-7}}'
    expected = base64.b64encode(hmac.new(SECRET, text.encode(), hashlib.sha256).digest()).decode()
    variables = parse_wire_json(b'{"x":1e-7}')
    assert signature_of(SECRET, "{ a }", variables) == expected
    bare = base64.b64encode(
        hmac.new(SECRET, b'{"query":"{ a }"}', hashlib.sha256).digest()
    ).decode()
    assert signature_of(SECRET, "{ a }", None) == signature_of(SECRET, "{ a }", {}) == bare


@given(st.text(max_size=20), values, st.text(max_size=20), values)
def test_a_signature_is_for_one_request_only(
    query: str, variables: object, other: str, others: object
) -> None:
    def same(one: object, two: object) -> bool:
        return canonical_json(one or None) == canonical_json(two or None)

    signature = signature_of(SECRET, query, variables)
    assert signature_is_valid(SECRET, query, variables, signature)
    assert signature_is_valid(SECRET, other, others, signature) == (
        query == other and same(variables, others)
    )
    assert not signature_is_valid(b"another secret..", query, variables, signature)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff", b'{"a":NaN}', b'{"a":-Infinity}', b'{"a":01}', b"{'a':1}", b"9" * 5000],
)
def test_what_is_no_json_is_refused_without_an_echo(body: bytes) -> None:
    with pytest.raises(ValueError, match="the body is not JSON") as refusal:
        parse_wire_json(body)
    assert refusal.value.__cause__ is None
