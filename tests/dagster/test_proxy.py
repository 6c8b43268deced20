"""The nginx files of deploy/.

A request that another site sends through a browser does not reach Dagster; people's own work does.
Dagster's web server runs mutations that come by GET or as a text, and opens web sockets to any
origin. Here nginx is in front of a real one.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import ssl
import subprocess
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from support.dagster import asker, dagster_processes, listens, wait_for_ui
from support.waits import PATIENCE_SECONDS, eventually

from faults.wire import free_port

DEPLOY = Path(__file__).parents[2] / "deploy"
NGINX = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
HOST = "dagster.example.org"
OWN = f"https://{HOST}"
JSON = "application/json"
LOGIN = {"Authorization": "Basic " + b64encode(b"ann:a-word").decode()}
MUTATION = 'mutation { setConcurrencyLimit(concurrencyKey: "KEY", limit: 1) }'
POOLS = "{ instance { concurrencyLimits { concurrencyKey } } }"
# The headers that Chromium adds to a request by a page of another site, and to a link that a person
# follows there.
FOREIGN = {
    "Origin": "https://evil.example.com",
    "Sec-Fetch-Site": "cross-site",
    "Sec-Fetch-Mode": "no-cors",
}
FOLLOWED = {
    "Sec-Fetch-Site": "cross-site",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
}
SAME = {"Origin": OWN, "Sec-Fetch-Site": "same-origin", "Content-Type": JSON}
SOCKET = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": b64encode(b"0123456789abcdef").decode(),
    "Sec-WebSocket-Protocol": "graphql-ws",
}

pytestmark = [
    pytest.mark.skipif(
        NGINX is None, reason="no nginx found: the files of deploy/ for it were not tried"
    ),
]


def certificate(folder: Path) -> None:
    """A key and a certificate that nobody trusts."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.now(UTC)
    built = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    signed = (
        built.not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    (folder / "tls.crt").write_bytes(signed.public_bytes(pem))
    (folder / "tls.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    )


@contextmanager
def nginx(file: str, folder: Path, upstream: str, upstream_port: int) -> Iterator[int]:
    """A running nginx with a file of deploy/; gives its port.

    Only the ports and paths in the file are changed.
    """
    port = free_port()
    certificate(folder)
    (folder / "dagster.htpasswd").write_text("ann:{PLAIN}a-word\n")
    text = (DEPLOY / file).read_text().replace("listen 443", f"listen 127.0.0.1:{port}")
    text = text.replace(upstream, f"127.0.0.1:{upstream_port}")
    for name in ("dagster", "api"):
        text = text.replace(f"/etc/nginx/{name}.crt", "tls.crt").replace(
            f"/etc/nginx/{name}.key", "tls.key"
        )
    text = text.replace("/etc/nginx/dagster.htpasswd", str(folder / "dagster.htpasswd"))
    assert "/etc/" not in text
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind}; "
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root; " if os.geteuid() == 0 else ""
    head = f"{user}daemon off; pid {folder}/pid; error_log {folder}/error.log info; events {{}}"
    server = f"access_log {folder}/access.log; {temporary}\n{text}"
    (folder / "nginx.conf").write_text(f"{head} http {{ {server}}}\n")
    process = subprocess.Popen(
        [str(NGINX), "-p", folder, "-c", folder / "nginx.conf", "-e", folder / "error.log"]
    )
    try:
        eventually(lambda: listens(port) or process.poll() is not None, "nginx listens")
        assert process.poll() is None, (folder / "error.log").read_text()
        yield port
    finally:
        process.terminate()
        process.wait(30)


def send(
    port: int, method: str, path: str, headers: dict[str, str], body: str = "", host: str = HOST
) -> tuple[int, bytes]:
    """A request through nginx; returns status and body, and status 0 if nginx hung up."""
    connection = http.client.HTTPSConnection(
        "127.0.0.1", port, timeout=PATIENCE_SECONDS, context=ssl._create_unverified_context()
    )
    try:
        connection.request(method, path, body or None, {"Host": host, **headers})
        answer = connection.getresponse()
        return answer.status, b"" if answer.status == 101 else answer.read()
    except http.client.RemoteDisconnected:
        return 0, b""
    finally:
        connection.close()


@pytest.fixture(scope="module")
def dagster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a real web server of Dagster's, on an instance of its own."""
    folder = tmp_path_factory.mktemp("dagster")
    (folder / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    port = free_port()
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SIGNAL", "DAGSTER"))
    }
    with dagster_processes(folder) as start:
        command = ["dagster-webserver", "--empty-workspace", "-h", "127.0.0.1", "-p", str(port)]
        wait_for_ui(asker(port), start(command, {**environment, "DAGSTER_HOME": str(folder)}))
        yield port


@pytest.fixture(scope="module")
def proxy(dagster: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of the nginx in front of it."""
    with nginx(
        "nginx-dagster.conf", tmp_path_factory.mktemp("nginx"), "127.0.0.1:3000", dagster
    ) as port:
        yield port


@pytest.fixture
def pools(dagster: int) -> Callable[[], set[str]]:
    """Asks Dagster itself for its pools, to which the mutation adds one."""
    return lambda: {
        each["concurrencyKey"] for each in asker(dagster)(POOLS)["instance"]["concurrencyLimits"]
    }


def mutation(key: str) -> tuple[str, str]:
    """A mutation that adds a pool, as the end of an address and as JSON."""
    text = MUTATION.replace("KEY", key)
    return f"/graphql?query={quote(text)}", json.dumps({"query": text})


UNINVITED = {
    "an image": ("GET", {}, "query"),
    "a followed link": ("GET", FOLLOWED, "query"),
    "an address that is typed": ("GET", {**FOLLOWED, "Sec-Fetch-Site": "none"}, "query"),
    "an image of the same site": ("GET", {"Sec-Fetch-Site": "same-origin"}, "query"),
    "a form": ("POST", {"Content-Type": "application/x-www-form-urlencoded"}, "query"),
    "a form of no origin": ("POST", {"Origin": "null", "Content-Type": "text/plain"}, "query"),
    "a text": ("POST", {"Content-Type": "text/plain"}, "query"),
    "a text that says JSON": ("POST", {"Content-Type": f"text/plain; {JSON}"}, "json"),
    "JSON, from another site": ("POST", {"Content-Type": JSON}, "json"),
    "JSON, without an origin": (
        "POST",
        {"Origin": "", "Sec-Fetch-Site": "", "Content-Type": JSON},
        "json",
    ),
    "JSON, of an older browser": ("POST", {"Sec-Fetch-Site": "", "Content-Type": JSON}, "json"),
    "JSON, of a neighbour's subdomain": (
        "POST",
        {"Origin": f"https://evil.{HOST}", "Sec-Fetch-Site": "same-site", "Content-Type": JSON},
        "json",
    ),
    "JSON, of the same name unencrypted": (
        "POST",
        {"Origin": f"http://{HOST}", "Content-Type": JSON},
        "json",
    ),
    "a text, from the UI itself": ("POST", {**SAME, "Content-Type": "text/plain"}, "query"),
    "GraphQL as text": ("POST", {"Content-Type": "application/graphql"}, "graphql"),
}


@pytest.mark.parametrize(("method", "headers", "form"), UNINVITED.values(), ids=UNINVITED.keys())
def test_what_a_page_of_another_site_sends_is_refused(
    proxy: int, pools: Callable[[], set[str]], method: str, headers: dict[str, str], form: str
) -> None:
    before = pools()
    for path in ("/graphql", "/%67raphql", "//graphql", "/graphql/"):
        address, as_json = mutation("from-another-site")
        query = address.partition("?")[2]
        body = {
            "query": "",
            "json": as_json,
            "graphql": MUTATION.replace("KEY", "from-another-site"),
        }[form]
        sent = {name: value for name, value in {**FOREIGN, **LOGIN, **headers}.items() if value}
        status, _ = send(proxy, method, f"{path}?{query}" if form == "query" else path, sent, body)
        assert status == 403 or path in (
            "//graphql",
            "/graphql/",
        )  # Dagster has other pages.
    assert pools() == before


def test_dagster_by_itself_would_take_them(dagster: int, pools: Callable[[], set[str]]) -> None:
    """Otherwise the refusals above would prove nothing."""
    connection = http.client.HTTPConnection("127.0.0.1", dagster, timeout=PATIENCE_SECONDS)
    for key, method, headers in (
        ("by-get", "GET", FOREIGN),
        ("by-text", "POST", {**FOREIGN, "Content-Type": "text/plain"}),
    ):
        connection.request(method, mutation(key)[0], headers=headers)
        assert connection.getresponse().read()
    connection.request(
        "POST",
        "/graphql",
        mutation("by-both")[1],
        {**FOREIGN, "Content-Type": f"text/plain; {JSON}"},
    )
    assert connection.getresponse().read()
    connection.request("GET", "/graphql", headers={**FOREIGN, **SOCKET})
    assert connection.getresponse().status == 101
    assert pools() >= {"by-get", "by-text", "by-both"}


def test_the_ui_works_through_the_proxy(proxy: int, pools: Callable[[], set[str]]) -> None:
    for kind in (JSON, f"{JSON}; charset=utf-8", f"{JSON};charset=UTF-8"):
        key = f"of-the-ui-{len(kind)}"
        status, body = send(
            proxy,
            "POST",
            "/graphql?op=Set",
            {**SAME, **LOGIN, "Content-Type": kind},
            mutation(key)[1],
        )
        assert (status, b"errors" in body) == (200, False)
        assert key in pools()
    for headers in ({}, FOLLOWED, {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}):
        assert send(proxy, "GET", "/runs", {**LOGIN, **headers})[0] == 200


@pytest.mark.parametrize(
    ("origin", "status"), [(OWN, 101), (FOREIGN["Origin"], 403), ("null", 403), ("", 403)]
)
def test_a_web_socket_opens_to_the_ui_alone(proxy: int, origin: str, status: int) -> None:
    headers = {**SOCKET, **LOGIN, **({"Origin": origin} if origin else {})}
    assert send(proxy, "GET", "/graphql", headers)[0] == status


def test_nothing_passes_without_a_login_or_under_another_name(proxy: int) -> None:
    assert send(proxy, "GET", "/runs", {})[0] == 401
    assert send(proxy, "POST", "/graphql", SAME, mutation("nobody")[1])[0] == 401
    assert send(proxy, "GET", "/runs", LOGIN, host="rebound.example.com")[0] == 0


@pytest.mark.parametrize("what", ["materialization", "check", "observation"])
def test_what_programs_report_does_not_come_through(proxy: int, what: str) -> None:
    assert (
        send(proxy, "POST", f"/report_asset_{what}/daily_app_activity", {**SAME, **LOGIN}, "{}")[0]
        == 403
    )


class Echo(BaseHTTPRequestHandler):
    """Answers with the headers that it got."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(bytes(self.headers))

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_a_client_does_not_choose_its_address_or_its_name(tmp_path: Path) -> None:
    forged = {
        "X-Forwarded-For": "198.51.100.7",
        "X-Forwarded-Host": "evil.example.com",
        "X-Real-IP": "198.51.100.7",
        "Forwarded": "for=198.51.100.7",
        "X-Forwarded-User": "admin",
        "Authorization": "JWT the-clients-own",
    }
    gateway = HTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=gateway.serve_forever, daemon=True).start()
    try:
        with nginx("nginx-gateway.conf", tmp_path, "127.0.0.1:4444", gateway.server_port) as port:
            status, seen = send(port, "GET", "/graphql", forged, host="api.example.org")
            elsewhere = send(port, "GET", "/readyz", {}, host="api.example.org")
    finally:
        gateway.shutdown()
    headers = dict(line.split(": ", 1) for line in seen.decode().strip().splitlines())
    assert (status, elsewhere[0]) == (200, 404)
    assert headers["X-Forwarded-For"] == headers["X-Real-IP"] == "127.0.0.1"
    assert headers["X-Forwarded-Host"] == "api.example.org"
    assert headers["Authorization"] == forged["Authorization"]
    assert not {"Forwarded", "X-Forwarded-User"} & headers.keys()


def test_the_edge_of_the_gateway_keeps_nothing_of_a_person(tmp_path: Path) -> None:
    """It keeps no line, and puts no body into a file, also if the gateway is away."""
    with nginx("nginx-gateway.conf", tmp_path, "127.0.0.1:4444", free_port()) as port:
        body = json.dumps({"query": "{ me }", "variables": {"text": "MARK" * 50_000}})
        folder = tmp_path / "client_body"
        before = folder.stat().st_mtime_ns
        agent = {"User-Agent": "MARK/1.0", "Content-Type": JSON}
        status, _ = send(port, "POST", "/graphql", agent, body, host="api.example.org")
        assert folder.stat().st_mtime_ns == before
    assert status == 502
    for log in ("access.log", "error.log"):
        kept = (tmp_path / log).read_text()
        assert "MARK" not in kept
        assert "client: 127.0.0.1" not in kept
        assert "/graphql" not in kept
