from __future__ import annotations

import asyncio
import http.client
import json
import socket
import ssl
import subprocess
import threading
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest

from costmeter.config.tls import Tls
from costmeter.web import CannotListen, WebServer, limits
from fakes.calls import call
from fakes.served import Rig, serving


def start(host: str, port: int) -> None:
    async def run() -> None:
        server = WebServer(rig.application(), host=host, port=port)
        await server.start()
        await server.stop()

    rig = Rig()
    asyncio.run(run())


def test_a_port_in_use_is_told_plainly() -> None:
    with serving(Rig()) as rig, pytest.raises(CannotListen) as caught:
        start("127.0.0.1", rig.port)
    assert str(rig.port) in str(caught.value)
    assert "--web.listen-address" in str(caught.value)


@pytest.mark.parametrize("host", ["192.0.2.77", "no.such.host.invalid"])
def test_an_address_of_another_machine_is_told_plainly(host: str) -> None:
    with pytest.raises(CannotListen, match=r"cannot listen on .* no such address"):
        start(host, 0)


def test_every_interface_is_both_families() -> None:
    with serving(Rig(), host="") as rig:
        assert rig.ask("GET", "/-/healthy").status == 200
        if socket.has_dualstack_ipv6():
            with urllib.request.urlopen(f"http://[::1]:{rig.port}/-/healthy", timeout=5) as answer:
                assert answer.status == 200


def test_a_stop_waits_for_what_is_being_booked() -> None:
    rig = Rig()
    assert rig.door is not None
    rig.door.stuck = True
    answers: list[int] = []
    with serving(rig):
        thread = threading.Thread(target=lambda: answers.append(rig.send([call()]).status))
        thread.start()
        while rig.door.waiting_events == 0:
            thread.join(0.01)
        later = threading.Timer(0.3, rig.door.release)
        later.start()
    thread.join(10)
    later.join()
    assert answers == [200]
    assert len(rig.door.usages) == 1


def test_the_same_port_can_be_used_again_at_once() -> None:
    rig = Rig()
    for _ in range(3):
        with serving(rig):
            assert rig.ask("GET", "/-/healthy").status == 200


def raw(rig: Rig, text: bytes, *, wait: float = 5) -> bytes:
    with socket.create_connection(("127.0.0.1", rig.port), timeout=wait) as connection:
        connection.sendall(text)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer


def test_requests_that_are_no_http_are_refused() -> None:
    with serving(Rig()) as rig:
        assert raw(rig, b"hello\r\n\r\n").startswith(b"HTTP/1.1 400")
        assert raw(rig, b"GET \xff HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 400")
        long = b"POST /api/v1/usage HTTP/1.1\r\nContent-Length: -1\r\n\r\n"
        assert raw(rig, long).startswith(b"HTTP/1.1 400")
        assert rig.ask("GET", "/-/healthy").status == 200


def test_an_endless_head_is_cut_off() -> None:
    with serving(Rig()) as rig:
        head = b"GET / HTTP/1.1\r\nX: " + b"a" * 4_000_000
        # Cut off while it was still talking, a client may not get to read why.
        with suppress(ConnectionError):
            assert raw(rig, head).startswith(b"HTTP/1.1 400")
        assert rig.ask("GET", "/-/healthy").status == 200


def test_a_head_that_trickles_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HEAD_SECONDS", 0.3)
    with serving(Rig()) as rig:
        assert raw(rig, b"GET / HT") == b""
        # A connection that is used and then idle stays open.
        with socket.create_connection(("127.0.0.1", rig.port), timeout=5) as connection:
            for _ in range(2):
                connection.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert connection.recv(65536).startswith(b"HTTP/1.1 200")
                threading.Event().wait(0.5)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a CA, a server's certificate for localhost, and a client's."""
    folder = tmp_path_factory.mktemp("pki")

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    new = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    usage = ("-addext", "keyUsage=critical,keyCertSign")
    files = ("-keyout", "ca.key", "-out", "ca.pem")
    openssl(*new, "-x509", "-days", "2", "-subj", "/CN=ca", *usage, *files)
    for name in ("localhost", "client"):
        openssl(*new, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        (folder / "ext").write_text(f"subjectAltName=DNS:{name}\nauthorityKeyIdentifier=keyid\n")
        openssl(
            "x509",
            "-req",
            "-days",
            "2",
            "-in",
            f"{name}.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-extfile",
            "ext",
            "-out",
            f"{name}.pem",
        )
    return folder


def get(rig: Rig, client: ssl.SSLContext) -> int:
    url = f"https://localhost:{rig.port}/-/healthy"
    with urllib.request.urlopen(url, context=client, timeout=5) as answer:
        return int(answer.status)


def test_tls_with_and_without_client_certificates(authority: Path) -> None:
    settings = Tls(
        cert_file=authority / "localhost.pem",
        key_file=authority / "localhost.key",
        client_auth_type="RequireAndVerifyClientCert",
        client_ca_file=authority / "ca.pem",
    )
    stranger = ssl.create_default_context(cafile=authority / "ca.pem")
    known = ssl.create_default_context(cafile=authority / "ca.pem")
    known.load_cert_chain(authority / "client.pem", authority / "client.key")
    with serving(Rig(tls=settings.context())) as rig:
        assert get(rig, known) == 200
        with pytest.raises((ssl.SSLError, urllib.error.URLError, ConnectionError)):
            get(rig, stranger)
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            rig.ask("GET", "/-/healthy")
    anybody = Tls(cert_file=settings.cert_file, key_file=settings.key_file)
    with serving(Rig(tls=anybody.context())) as rig:
        assert get(rig, stranger) == 200
        body = json.dumps([call()]).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(
            f"https://localhost:{rig.port}/api/v1/usage", body, headers, method="POST"
        )
        with urllib.request.urlopen(request, context=stranger, timeout=5) as answer:
            assert json.loads(answer.read())["accepted"] == 1
