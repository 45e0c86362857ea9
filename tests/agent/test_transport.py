"""The connection to the server: TLS with a private CA and a client's certificate."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from costmeter.agent.transport import FAILURES, Tls, Transport, pack
from fakes.served import Rig, serving

BODY = pack(b'{"gpu_segments":[]}')


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command")
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("server", "client"):
        command = (
            f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
            f" -subj /CN={name} -addext subjectAltName=DNS:localhost"
            f" -keyout {name}.key -out {name}.crt"
        )
        subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    return folder


def test_a_private_ca_and_a_clients_certificate(certificates: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.crt", certificates / "server.key")
    context.load_verify_locations(certificates / "client.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    with serving(Rig(tls=context)) as rig:
        url = f"https://localhost:{rig.port}"
        tls = Tls(*(certificates / name for name in ("server.crt", "client.crt", "client.key")))
        good = Transport(url, tls, 10)
        assert [good.post(BODY, None).status for _ in range(2)] == [200, 200]
        good.close()
        for files in (Tls(certificates / "server.crt"), Tls()):
            stranger = Transport(url, files, 10)
            with pytest.raises(FAILURES):
                stranger.post(BODY, None)
            stranger.close()


def test_a_connection_that_was_closed_meanwhile_is_made_anew() -> None:
    rig = Rig()
    with serving(rig):
        transport = Transport(f"http://127.0.0.1:{rig.port}", Tls(), 10)
        assert transport.post(BODY, None).status == 200
    with serving(rig):
        answer = transport.post(BODY, None)
        assert (answer.status, answer.retry_after) == (200, None)
        assert b'"accepted":0' in answer.body
        transport.close()
