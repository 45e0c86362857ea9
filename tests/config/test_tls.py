"""TLS of the web configuration, with certificates that openssl makes."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from costmeter.config import ConfigError, WebConfig, load_web_config

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("server", "client"):
        command = (
            f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
            f" -subj /CN={name} -addext subjectAltName=DNS:localhost"
            f" -keyout {name}.key -out {name}.crt"
        )
        subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    return folder


def tls(folder: Path, **changes: str) -> Path:
    fields = {"cert_file": "server.crt", "key_file": "server.key", **changes}
    lines = "".join(f"  {key}: {value}\n" for key, value in fields.items() if value)
    path = folder / "web.yml"
    path.write_text(f"tls_server_config:\n{lines}", "utf-8")
    return path


def refused(folder: Path, **changes: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_web_config(tls(folder, **changes))
    return str(caught.value).replace(f"{folder}/", "").splitlines()


def shake_hands(
    folder: Path, web: WebConfig, *, with_certificate: bool
) -> tuple[str | None, object]:
    """A handshake in memory: the version, and the client's certificate as it was seen."""
    assert web.tls is not None
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context(cafile=str(folder / "server.crt"))
    if with_certificate:
        context.load_cert_chain(folder / "client.crt", folder / "client.key")
    server = web.tls.context().wrap_bio(to_server, to_client, server_side=True)
    client = context.wrap_bio(to_client, to_server, server_hostname="localhost")
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return server.version(), server.getpeercert()


def test_a_client_is_served(certificates: Path) -> None:
    web = load_web_config(tls(certificates))
    version, _ = shake_hands(certificates, web, with_certificate=False)
    assert version == "TLSv1.3"


def test_a_newest_version(certificates: Path) -> None:
    web = load_web_config(tls(certificates, max_version="TLS12"))
    version, _ = shake_hands(certificates, web, with_certificate=False)
    assert version == "TLSv1.2"


def test_a_client_without_a_certificate_is_turned_away(certificates: Path) -> None:
    web = load_web_config(
        tls(
            certificates,
            client_auth_type="RequireAndVerifyClientCert",
            client_ca_file="client.crt",
        )
    )
    _, seen = shake_hands(certificates, web, with_certificate=True)
    assert seen
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        shake_hands(certificates, web, with_certificate=False)


def test_a_missing_file_is_told(certificates: Path) -> None:
    assert refused(certificates, cert_file="no.crt", key_file="no.key") == [
        (
            f"web.yml:{line}: tls_server_config.{name}_file: there is no file no.{end};"
            " write the path of a PEM file"
        )
        for line, name, end in ((2, "cert", "crt"), (3, "key", "key"))
    ]


def test_a_key_of_another_certificate_is_told(certificates: Path) -> None:
    (told,) = refused(certificates, key_file="client.key")
    assert told.startswith("web.yml:2: tls_server_config: these files make no TLS server: ")


def test_a_key_with_a_password_is_told_and_asks_nobody(certificates: Path) -> None:
    command = "openssl ec -in server.key -aes256 -passout pass:x -out locked.key"
    subprocess.run(command.split(), cwd=certificates, check=True, capture_output=True)
    (told,) = refused(certificates, key_file="locked.key")
    assert "the key without a password?" in told


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"key_file": ""}, "tls_server_config.key_file: is missing; write the path of a file"),
        (
            {"client_auth_type": "RequireAnyClientCert"},
            (
                "tls_server_config.client_auth_type: 'RequireAnyClientCert' takes certificates"
                " without verifying them; write RequireAndVerifyClientCert"
            ),
        ),
        (
            {"client_auth_type": "RequireAndVerifyClientCert"},
            (
                "tls_server_config.client_auth_type: RequireAndVerifyClientCert needs"
                " client_ca_file, to verify against; add it"
            ),
        ),
        (
            {"client_ca_file": "client.crt"},
            (
                "tls_server_config.client_ca_file: is of no use with NoClientCert; write"
                " client_auth_type: RequireAndVerifyClientCert"
            ),
        ),
        (
            {"min_version": "TLS10"},
            (
                "tls_server_config.min_version: 'TLS10' is not TLS12 or TLS13; write one of them"
                " (older ones are broken)"
            ),
        ),
        (
            {"min_version": "TLS13", "max_version": "TLS12"},
            "tls_server_config.min_version: is newer than max_version; swap them",
        ),
        (
            {"cipher_suites": "[A]"},
            (
                "tls_server_config.cipher_suites: is not supported: the system's OpenSSL decides;"
                " remove it, or set it in a proxy"
            ),
        ),
        (
            {"cert": "PEM"},
            (
                "tls_server_config.cert: is not supported: write the name of a PEM file under"
                " cert_file"
            ),
        ),
    ],
)
def test_what_is_told(certificates: Path, changes: dict[str, str], told: str) -> None:
    (line,) = refused(certificates, **changes)
    assert line.partition(": ")[2] == told
