"""The `tls_server_config` of a web configuration, and the TLS context made of it."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

from costmeter.config.kinds import Kind, ReadFile
from costmeter.config.problems import Wrong
from costmeter.config.spec import Setting

_CLIENT_AUTH: Mapping[str, ssl.VerifyMode] = MappingProxyType(
    {
        "NoClientCert": ssl.CERT_NONE,
        "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
        "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
    }
)
_UNVERIFIED = frozenset({"RequestClientCert", "RequireAnyClientCert"})
_VERSIONS: Mapping[str, ssl.TLSVersion] = MappingProxyType(
    {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
)

_INLINE = "is not supported: write the name of a PEM file under {}"
_FIXED = "is not supported: the system's OpenSSL decides; remove it, or set it in a proxy"
#: Keys of the format that this server cannot honour; ignoring them could open a door.
UNSUPPORTED: Mapping[str, str] = MappingProxyType(
    {
        "cert": _INLINE.format("cert_file"),
        "key": _INLINE.format("key_file"),
        "client_ca": _INLINE.format("client_ca_file"),
        "client_allowed_sans": "is not supported: let the CA of client_ca_file sign only those"
        " who may come in, or check names in a proxy",
        "cipher_suites": _FIXED,
        "prefer_server_cipher_suites": _FIXED,
        "curve_preferences": _FIXED,
    }
)


class ClientAuth(Kind[str]):
    def __init__(self) -> None:
        super().__init__(f"one of {', '.join(_CLIENT_AUTH)}", "one of them")

    def parse(self, text: str, folder: Path) -> str:
        del folder
        if text in _UNVERIFIED:
            raise Wrong(
                "takes certificates without verifying them; write RequireAndVerifyClientCert"
            )
        if text not in _CLIENT_AUTH:
            raise ValueError
        return text


class Version(Kind[str]):
    def __init__(self) -> None:
        super().__init__("TLS12 or TLS13", "one of them (older ones are broken)")

    def parse(self, text: str, folder: Path) -> str:
        del folder
        if text not in _VERSIONS:
            raise ValueError
        return text


@dataclass(frozen=True, slots=True)
class Tls:
    """File names are absolute or relative to the process once they are read."""

    cert_file: Annotated[
        Path | None, Setting(ReadFile(), "The server's certificate chain, PEM.", required=True)
    ] = None
    key_file: Annotated[
        Path | None, Setting(ReadFile(), "The key of the certificate, PEM.", required=True)
    ] = None
    client_auth_type: Annotated[
        str, Setting(ClientAuth(), "Whether clients show a certificate of their own.")
    ] = "NoClientCert"
    client_ca_file: Annotated[
        Path | None,
        Setting(ReadFile(optional=True), "Who signs the clients' certificates, PEM."),
    ] = None
    min_version: Annotated[str, Setting(Version(), "The oldest version of TLS.")] = "TLS12"
    max_version: Annotated[str, Setting(Version(), "The newest version of TLS.")] = "TLS13"

    def files(self) -> Mapping[str, Path]:
        """The files that are named, by key."""
        named = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: value for name, value in named.items() if isinstance(value, Path)}

    def context(self) -> ssl.SSLContext:
        """A server's context; reads the files. Raises OSError, of which SSLError is one."""
        if self.cert_file is None or self.key_file is None:
            raise FileNotFoundError("a certificate and a key are needed")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = _VERSIONS[self.min_version]
        context.maximum_version = _VERSIONS[self.max_version]
        # Without a password OpenSSL would ask the terminal for one.
        context.load_cert_chain(self.cert_file, self.key_file, password=lambda: b"")
        if self.client_ca_file is not None:
            context.load_verify_locations(self.client_ca_file)
        context.verify_mode = _CLIENT_AUTH[self.client_auth_type]
        return context
