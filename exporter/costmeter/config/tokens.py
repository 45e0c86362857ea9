"""Bearer tokens: who may send usage or read, known by the hash of their token only."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from costmeter.config.document import read_document
from costmeter.config.files import open_to_everybody
from costmeter.config.kinds import Choice, Pattern
from costmeter.config.nodes import Listing
from costmeter.config.problems import Place, Problem, Reading, Wrong
from costmeter.config.records import ListOf, Records
from costmeter.config.scopes import ANY_FEED
from costmeter.config.spec import Setting
from costmeter.config.values import LABEL, NAME

HOW_TO_HASH = (
    "the 64 digits that `printf %s TOKEN | sha256sum` prints;"
    " `costmeter token` makes a new token together with them"
)
#: Feeds that the exporter books itself: imported history and its own GPUs.
RESERVED_FEEDS = frozenset({"import", "gpu", "http"})
_EMPTY = hashlib.sha256(b"").hexdigest()
_PLAIN = f"a token itself must not stand here: remove it and write sha256 with {HOW_TO_HASH}"


class _Digest(Pattern):
    secret = True

    def parse(self, text: str, folder: Path) -> str:
        digest = super().parse(text, folder).lower()
        if digest == _EMPTY:
            raise Wrong(f"is the hash of no text at all; write {HOW_TO_HASH}")
        return digest


@dataclass(frozen=True, slots=True)
class TokenEntry:
    """One item of the file of tokens."""

    name: Annotated[
        str,
        Setting(NAME, "What the token is called; errors and metrics show it.", required=True),
    ] = ""
    sha256: Annotated[
        str,
        Setting(
            _Digest("[0-9a-fA-F]{64}", "the SHA-256 of a token", HOW_TO_HASH),
            "SHA-256 of the token in hexadecimal digits.",
            required=True,
        ),
    ] = field(default="", repr=False)
    tenant_id: Annotated[
        str,
        Setting(LABEL, "The tenant that everything sent with the token belongs to."),
    ] = ""
    feed: Annotated[
        str, Setting(NAME, "The feed that scopes know the sender by. Empty: the token's name.")
    ] = ""
    permissions: Annotated[
        tuple[str, ...],
        Setting(
            ListOf(Choice("write", "read"), "write, read"),
            "What the token allows: to send usage, to read what was booked.",
        ),
    ] = ("write",)


@dataclass(frozen=True, slots=True)
class Token:
    """A known sender. An empty `tenant_id` means that the events say whose they are."""

    name: str
    feed: str
    tenant_id: str
    permissions: frozenset[str]
    digest: bytes = field(repr=False)

    @property
    def may_write(self) -> bool:
        return "write" in self.permissions

    @property
    def may_read(self) -> bool:
        return "read" in self.permissions


class Tokens:
    """All known tokens; finds one in time that tells nothing about the others."""

    def __init__(self, tokens: Iterable[Token], warnings: tuple[Problem, ...] = ()) -> None:
        # Digests are looked up under a key of this process, so that the time a lookup
        # takes says nothing about a digest to somebody who can choose what is looked up.
        self._key = secrets.token_bytes(32)
        self._tokens = {self._slot(token.digest): token for token in tokens}
        self.warnings = warnings

    def find(self, bearer: str) -> Token | None:
        """The token whose secret is `bearer`, or None."""
        digest = hashlib.sha256(bearer.encode("utf-8", "surrogatepass")).digest()
        token = self._tokens.get(self._slot(digest))
        if token is None or not hmac.compare_digest(token.digest, digest):
            return None
        return token

    def _slot(self, digest: bytes) -> bytes:
        return hashlib.blake2b(digest, key=self._key, digest_size=32).digest()

    def __iter__(self) -> Iterator[Token]:
        return iter(self._tokens.values())

    def __len__(self) -> int:
        return len(self._tokens)

    def __repr__(self) -> str:
        return f"Tokens({', '.join(sorted(token.name for token in self))})"


def new_token() -> tuple[str, str]:
    """A fresh token, and its SHA-256 for the file of tokens."""
    token = f"cm_{secrets.token_urlsafe(32)}"
    return token, hashlib.sha256(token.encode()).hexdigest()


def load_tokens(path: Path) -> Tokens:
    """The tokens of a file; raises ConfigError, which never quotes what stands in it."""
    reading = Reading(secret=True)
    document = read_document(path, reading, quiet=True)
    reading.raise_problems()
    node = document or Listing(Place(str(path)))
    reading.places[""] = Place(str(path))
    try:
        entries = Records(TokenEntry, {"token": _PLAIN, "secret": _PLAIN}).read(node, "", reading)
    except Wrong as wrong:
        reading.wrong(node.place, "", str(wrong))
        entries = ()
    else:
        _check(entries, reading)
    reading.raise_problems()
    if open_to_everybody(path):
        reading.warn("", "can be read by everybody on this machine: chmod o-r it")
    return Tokens((_token(entry) for entry in entries), tuple(reading.warnings))


def _check(entries: tuple[TokenEntry, ...], reading: Reading) -> None:
    if not entries:
        reading.wrong_setting("", "holds no token, so nobody could send; add one")
    names: dict[str, str] = {}
    for number, entry in enumerate(entries):
        if (entry.feed or entry.name) == ANY_FEED:
            text = f"'{ANY_FEED}' means every feed in scopes; write another word"
            reading.wrong_setting(f"[{number}].{'feed' if entry.feed else 'name'}", text)
        if entry.sha256 and entry.sha256 in names:
            text = f"is the same token as that of '{names[entry.sha256]}'; every sender has its own"
            reading.wrong_setting(f"[{number}].sha256", text)
        names.setdefault(entry.sha256, entry.name)
        if (entry.feed or entry.name) in RESERVED_FEEDS:
            text = f"would be the feed {entry.feed or entry.name!r}, which is costmeter's own"
            reading.wrong_setting(f"[{number}].feed", f"{text}; write another feed")
        if not entry.permissions:
            text = "allows nothing; write [write], [read] or [write, read]"
            reading.wrong_setting(f"[{number}].permissions", text)


def _token(entry: TokenEntry) -> Token:
    return Token(
        name=entry.name,
        feed=entry.feed or entry.name,
        tenant_id=entry.tenant_id,
        permissions=frozenset(entry.permissions),
        digest=bytes.fromhex(entry.sha256),
    )
