"""The web configuration file: TLS and basic authentication, as exporters share it.

Format: the exporter-toolkit's `web-configuration.md` (Prometheus project). What this
server cannot honour is refused, never ignored: a lock that is not there is worse than
an error.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from types import MappingProxyType
from typing import Annotated

from costmeter.config.document import read_document
from costmeter.config.files import unreadable
from costmeter.config.kinds import Choice, Kind, Pattern, Switch
from costmeter.config.nodes import Node, Table
from costmeter.config.problems import Place, Reading, Wrong
from costmeter.config.records import NOTHING, Section, single_entries
from costmeter.config.spec import Setting, settings_of
from costmeter.config.tls import UNSUPPORTED, Tls

#: bcrypt reads no further; longer passwords are cut there, as every other tool does.
_BCRYPT_BYTES = 72
RATE_LIMIT = {"rate_limit": "is not supported: limit the rate in a proxy, and remove it here"}


class _Hash(Pattern):
    secret = True


_HASH = _Hash(
    r"\$2[aby]\$(0[4-9]|1[0-6])\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}",
    "a bcrypt hash with a cost of 4 to 16",
    "what `htpasswd -nBC 10 NAME` prints after the colon",
)
_HEADER = Pattern(r"[\x20-\x7e]{1,4000}", "the text of a header", "printable ASCII on one line")


class Users(Kind[Mapping[str, str]]):
    """User names with the bcrypt hashes of their passwords."""

    def __init__(self) -> None:
        super().__init__("a mapping of users", "one line per user, as NAME: HASH")

    def read(self, node: Node, key: str, reading: Reading) -> Mapping[str, str]:
        if not isinstance(node, Table):
            raise Wrong(f"something else stands here, not {self.what}; write {self.write}")
        users: dict[str, str] = {}
        for word, child in single_entries(node, f"{key}.", reading):
            user_key = f"{key}.{word.text[:60]}"
            if not word.text or ":" in word.text:
                reading.wrong(word.place, key, "holds a user name that is empty or has a colon")
                continue
            try:
                users[word.text] = _HASH.read(child, user_key, reading)
            except Wrong as wrong:
                reading.wrong(child.place, user_key, str(wrong))
        return users

    def show(self, value: Mapping[str, str]) -> str:
        return "{}" if not value else "(hidden)"


@dataclass(frozen=True, slots=True)
class Headers:
    content_security_policy: Annotated[
        str, Setting(_HEADER, "Added to every answer.", key="Content-Security-Policy")
    ] = ""
    x_frame_options: Annotated[
        str, Setting(Choice("deny", "sameorigin"), "The same.", key="X-Frame-Options")
    ] = ""
    x_content_type_options: Annotated[
        str, Setting(Choice("nosniff"), "The same.", key="X-Content-Type-Options")
    ] = ""
    x_xss_protection: Annotated[str, Setting(_HEADER, "The same.", key="X-XSS-Protection")] = ""
    strict_transport_security: Annotated[
        str, Setting(_HEADER, "The same.", key="Strict-Transport-Security")
    ] = ""


@dataclass(frozen=True, slots=True)
class HttpServer:
    http2: Annotated[
        bool, Setting(Switch(), "Accepted for the format's sake; this server speaks HTTP/1.1.")
    ] = True
    headers: Annotated[
        Headers, Setting(Section(Headers), "Headers that are added to every answer.")
    ] = field(default_factory=Headers)


@dataclass(frozen=True, slots=True)
class WebFile:
    """The file as it is written."""

    tls_server_config: Annotated[
        Tls | None, Setting(Section(Tls, UNSUPPORTED), "TLS. Without it, plain HTTP.")
    ] = None
    http_server_config: Annotated[
        HttpServer, Setting(Section(HttpServer), "How HTTP is spoken.")
    ] = field(default_factory=HttpServer)
    basic_auth_users: Annotated[
        Mapping[str, str],
        Setting(Users(), "Who may read: user names with bcrypt hashes. Empty: everybody."),
    ] = field(default_factory=lambda: NOTHING, repr=False)


class WebConfig:
    """TLS, headers and users of the server. Passwords are verified once each, then known."""

    def __init__(
        self, tls: Tls | None, headers: Mapping[str, str], users: Mapping[str, str]
    ) -> None:
        self.tls = tls
        self.headers: Mapping[str, str] = MappingProxyType(dict(headers))
        self._users = dict(users)
        self._key = secrets.token_bytes(32)
        self._verified: dict[str, bytes] = {}
        self._working = Lock()

    @property
    def needs_password(self) -> bool:
        return bool(self._users)

    def remembers(self, user: str, password: str) -> bool:
        """True when this very password was verified before. Takes microseconds."""
        known = self._verified.get(user, b"")
        return hmac.compare_digest(known, self._digest(user, password))

    def check(self, user: str, password: str) -> bool:
        """True for a right password. The first time it takes as long as bcrypt does.

        That is tens of milliseconds: call it in a thread when `remembers` says no. An
        unknown user takes as long as a wrong password does.
        """
        import bcrypt

        if self.remembers(user, password):
            return True
        known = self._users.get(user)
        hashed = known or next(iter(self._users.values()), "")
        secret = password.encode("utf-8", "surrogatepass")[:_BCRYPT_BYTES]
        if not hashed or b"\0" in secret:
            return False
        with self._working:  # guessing must not take every core
            right = bcrypt.checkpw(secret, hashed.encode())
        if right and known is not None:
            self._verified[user] = self._digest(user, password)
            return True
        return False

    def _digest(self, user: str, password: str) -> bytes:
        text = f"{len(user)}:{user}{password}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(text, key=self._key, digest_size=32).digest()

    def __repr__(self) -> str:
        users = ", ".join(sorted(self._users))
        return f"WebConfig(tls={self.tls is not None}, users=[{users}])"


def load_web_config(path: Path) -> WebConfig:
    """The web configuration of a file; raises ConfigError. An empty file asks nothing."""
    reading = Reading()
    document = read_document(path, reading, quiet=True)
    reading.raise_problems()
    node = document or Table(Place(str(path), None, path.parent))
    written = WebFile()
    try:
        written = Section(WebFile, RATE_LIMIT).read(node, "", reading)
    except Wrong as wrong:
        reading.wrong(node.place, "", str(wrong))
    if written.tls_server_config is not None and not reading.problems:
        _check_tls(written.tls_server_config, reading)
    reading.raise_problems()
    headers = written.http_server_config.headers
    named = {key: getattr(headers, item.name) for key, item in settings_of(Headers).items()}
    return WebConfig(
        written.tls_server_config,
        {key: text for key, text in named.items() if text},
        written.basic_auth_users,
    )


def _check_tls(tls: Tls, reading: Reading) -> None:
    key = "tls_server_config"
    for name, file in tls.files().items():
        trouble = unreadable(file)
        if trouble:
            reading.wrong_setting(f"{key}.{name}", f"{trouble}; write the path of a PEM file")
    if tls.client_auth_type != "NoClientCert" and tls.client_ca_file is None:
        text = f"{tls.client_auth_type} needs client_ca_file, to verify against; add it"
        reading.wrong_setting(f"{key}.client_auth_type", text)
    if tls.client_auth_type == "NoClientCert" and tls.client_ca_file is not None:
        text = "is of no use with NoClientCert; write client_auth_type: RequireAndVerifyClientCert"
        reading.wrong_setting(f"{key}.client_ca_file", text)
    if tls.min_version > tls.max_version:
        reading.wrong_setting(f"{key}.min_version", "is newer than max_version; swap them")
    if reading.problems:
        return
    try:
        tls.context()
    except OSError as error:
        text = f"these files make no TLS server: {error}. Are the key and the certificate a pair,"
        reading.wrong_setting(key, f"{text} in PEM, the key without a password?")
