"""The issuer's keys, from a file or a URL.

They are read again when they change, and kept when they cannot be read.
"""

from __future__ import annotations

import asyncio
import gc
import http.server
import ipaddress
import itertools
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from support.waits import PATIENCE_SECONDS
from support.wire import AUDIENCE, ISSUER, Issuer, write_jwks

from signal_pipeline.api.identity import tokens
from signal_pipeline.api.identity.tokens import KeysError, PublicKeys, TokenVerifier
from signal_pipeline.api.refusals import ApiError


@pytest.fixture
def verifier(tmp_path: Path) -> TokenVerifier:
    """A verifier whose keys are in `jwks.json`; they are those of an issuer called old."""
    return _verifier(str(write_jwks(tmp_path / "jwks.json", Issuer("old"))))


def _verifier(source: str) -> TokenVerifier:
    keys = PublicKeys(source)
    keys.load()
    return TokenVerifier(keys, ISSUER, AUDIENCE)


def good(verifier: TokenVerifier, issuer: Issuer) -> bool:
    """Whether a new token of this issuer is accepted."""
    claims = issuer.claims()
    try:
        return dict(asyncio.run(verifier.claims(issuer.token(claims)))) == claims
    except ApiError:
        return False


def test_an_unknown_key_is_a_reason_to_read_again(
    verifier: TokenVerifier, issuer: Issuer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "RETRY_SECONDS", 0.0)
    assert not good(verifier, issuer)
    write_jwks(tmp_path / "jwks.json", issuer)
    assert good(verifier, issuer)


def test_but_not_at_every_request(verifier: TokenVerifier, issuer: Issuer, tmp_path: Path) -> None:
    write_jwks(tmp_path / "jwks.json", issuer)
    assert not good(verifier, issuer)


def test_keys_stay_good_while_the_new_ones_cannot_be_read(
    issuer: Issuer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(tokens, "KEYS_LIFE_SECONDS", 0.0)
    verifier = _verifier(str(write_jwks(tmp_path / "jwks.json", issuer)))
    (tmp_path / "jwks.json").write_text("{")
    assert good(verifier, issuer)


def test_a_withdrawn_key_is_no_longer_good_for_tokens_that_were_seen(
    issuer: Issuer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    monkeypatch.setattr(tokens, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(tokens, "KEYS_LIFE_SECONDS", 0.0)
    verifier = _verifier(str(write_jwks(tmp_path / "jwks.json", issuer)))
    token = issuer.token(issuer.claims(exp=int(now) + 10**6))
    assert asyncio.run(verifier.claims(token))
    write_jwks(tmp_path / "jwks.json", Issuer("other"))
    later = itertools.count(1)
    monkeypatch.setattr("time.time", lambda: now + next(later) * (tokens.REMEMBERED_SECONDS + 1))

    async def until_it_is_refused() -> None:
        for _ in range(200):
            await verifier.claims(
                token
            )  # Good until the keys are loaded again, after the first of these.
            await asyncio.sleep(0.05)

    with pytest.raises(ApiError, match="key is unknown"):
        asyncio.run(until_it_is_refused())


def test_claims_of_whoever_went_away_leave_the_memory(
    issuer: Issuer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verifier = _verifier(str(write_jwks(tmp_path / "jwks.json", issuer)))

    def held(mark: str = "here") -> bool:
        gc.collect()
        return any(type(each) is dict and each.get("mark") == [mark] for each in gc.get_objects())

    async def until_they_are_gone() -> None:
        monkeypatch.setattr(tokens, "REMEMBERED_SECONDS", 3600.0)
        await verifier.claims(issuer.token(issuer.claims("stays", mark=["here"])))
        assert held()
        monkeypatch.setattr(tokens, "REMEMBERED_SECONDS", 0.1)
        await verifier.claims(issuer.token(issuer.claims(mark=["gone"])))
        assert held("gone")
        async with asyncio.timeout(PATIENCE_SECONDS):
            while held("gone"):
                await asyncio.sleep(0.05)
        assert held("here")

    asyncio.run(until_they_are_gone())


def test_an_expired_token_is_not_remembered_as_good(
    issuer: Issuer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verifier = _verifier(str(write_jwks(tmp_path / "jwks.json", issuer)))
    claims = issuer.claims()
    token = issuer.token(claims)
    assert asyncio.run(verifier.claims(token)) == claims
    later = float(str(claims["exp"])) + tokens.LEEWAY_SECONDS + 1
    monkeypatch.setattr("time.time", lambda: later)
    monkeypatch.setattr(tokens.jwt.api_jwt, "datetime", _clock(later))
    with pytest.raises(ApiError, match="expired"):
        asyncio.run(verifier.claims(token))


def _clock(now: float) -> type:
    import datetime

    class Later(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Later:  # type: ignore[override]
            return cls.fromtimestamp(now, tz)

    return Later


@pytest.fixture
def folder_url(tmp_path: Path) -> Iterator[str]:
    """An HTTP server over the test's folder."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(tmp_path))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_keys_come_from_a_url_too(folder_url: str, issuer: Issuer, tmp_path: Path) -> None:
    write_jwks(tmp_path / "keys", issuer)
    assert good(_verifier(f"{folder_url}/keys"), issuer)
    with pytest.raises(KeysError, match="SIGNAL_JWKS"):
        _verifier(f"{folder_url}/none")


@pytest.fixture
def redirects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """Starts https servers with a trusted certificate, which redirect everybody to one place.

    Gives their URL.
    """
    key, name = (
        ec.generate_private_key(ec.SECP256R1()),
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuer")]),
    )
    own_address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(own_address, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    plain = (
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (tmp_path / "server.pem").write_bytes(pem + key.private_bytes(*plain))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "server.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")

    def start(target: str) -> str:
        class Elsewhere(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(302)
                self.send_header("location", target)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        server = stack.enter_context(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere))
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stack.callback(server.shutdown)
        return f"https://127.0.0.1:{server.server_address[1]}/"

    with ExitStack() as stack:
        yield start


def test_no_redirect_leads_from_https_to_plain_http(
    redirects: Callable[[str], str], folder_url: str, issuer: Issuer, tmp_path: Path
) -> None:
    write_jwks(tmp_path / "keys", issuer)
    first = redirects(f"{folder_url}/keys")
    for source in (first, redirects(first), redirects(first.replace("https", "HTTPS"))):
        with pytest.raises(KeysError, match="SIGNAL_JWKS: redirected from https to plain http"):
            PublicKeys(source).load()


def test_an_answer_that_is_no_http_leaves_the_keys_as_they_are() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"nonsense\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(KeysError, match="SIGNAL_JWKS"):
            PublicKeys(f"http://127.0.0.1:{server.getsockname()[1]}/keys").load()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"keys": []}',
        '{"keys": 5}',
        '{"keys": [{"kty": "none"}]}',
        pytest.param("[" * 100_000, id="deep"),
    ],
)
def test_a_file_without_keys_stops_the_start(tmp_path: Path, text: str) -> None:
    (tmp_path / "jwks.json").write_text(text)
    with pytest.raises(KeysError, match="SIGNAL_JWKS: no usable keys"):
        PublicKeys(str(tmp_path / "jwks.json")).load()


class _Slow(PublicKeys):
    """Keys whose source answers when it is allowed to."""

    def __init__(self, source: str) -> None:
        super().__init__(source)
        self.loads, self.go_on = 0, threading.Event()
        self.go_on.set()

    def _text(self) -> str:
        self.loads += 1
        self.go_on.wait(10)
        return super()._text()


def test_known_keys_are_good_at_once_while_others_are_loaded_slowly(
    issuer: Issuer, tmp_path: Path
) -> None:
    keys = _Slow(str(write_jwks(tmp_path / "jwks.json", issuer)))
    keys.load()
    keys._tried_at = float("-inf")

    async def ask() -> object:
        keys.go_on.clear()
        stranger = asyncio.create_task(keys.key("unknown"))
        while keys.loads < 2:
            await asyncio.sleep(0.01)
        try:
            keys._loaded_at = float("-inf")  # The keys have aged, too.
            return await asyncio.wait_for(keys.key("key-1"), 5)
        finally:
            keys.go_on.set()
            await stranger

    assert asyncio.run(ask()) is not None


def test_an_aged_key_is_good_at_once_and_loaded_again_behind_it(
    issuer: Issuer, tmp_path: Path
) -> None:
    keys = _Slow(str(write_jwks(tmp_path / "jwks.json", issuer)))
    keys.load()
    keys._loaded_at = keys._tried_at = float("-inf")

    async def ask() -> object:
        keys.go_on.clear()
        try:
            return await asyncio.wait_for(keys.key("key-1"), 5)
        finally:
            while keys.loads < 2:
                await asyncio.sleep(0.01)
            keys.go_on.set()

    assert asyncio.run(ask()) is not None


def test_a_slow_load_is_not_followed_by_another_at_once(
    issuer: Issuer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(tokens, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    keys = _Slow(str(write_jwks(tmp_path / "jwks.json", issuer)))
    text = keys._text

    def slow() -> str:
        clock[0] += 10
        return text()

    monkeypatch.setattr(keys, "_text", slow)
    keys.load()
    asyncio.run(keys.key("unknown"))
    assert keys.loads == 1
