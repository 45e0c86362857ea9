"""Where to send, as whom, and within which bounds: arguments first, then the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from costmeter.sdk.event import Invalid, check_fields

DEFAULT_URL = "http://127.0.0.1:9952"

#: Fields that a deployment usually fixes for a whole process.
_FROM_ENVIRONMENT = ("tenant_id", "environment", "team", "project", "service", "feature")


@dataclass(frozen=True, slots=True)
class Settings:
    """See `Meter` for what each is. The token never shows in a repr."""

    url: str
    token: str | None = field(repr=False)
    token_file: Path | None
    defaults: Mapping[str, object]
    queue_events: int
    spool: Path | None
    spool_bytes: int
    max_age_days: float
    linger_seconds: float
    connect_seconds: float
    timeout_seconds: float
    max_backoff_seconds: float
    exit_seconds: float
    strict: bool

    def __post_init__(self) -> None:
        check_url(self.url)
        for name in ("queue_events", "spool_bytes", "max_age_days", "connect_seconds",
                     "timeout_seconds", "max_backoff_seconds"):  # fmt: skip
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be more than 0")
        for name in ("linger_seconds", "exit_seconds"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative")
        try:
            check_fields(self.defaults)
        except Invalid as error:
            raise ValueError(str(error)) from None

    def read_token(self) -> str | None:
        """The token as it is now; a file is read again, so that it may be replaced.

        Raises OSError when the file cannot be read.
        """
        if self.token_file is None:
            return self.token
        return self.token_file.read_text("utf-8").strip() or None


def check_url(url: str) -> None:
    """Raises ValueError with what to write instead."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"url: expected one like {DEFAULT_URL}, not {_without_user(url)!r}")
    if parts.username or parts.password:
        raise ValueError("url: holds a user or password; give token= or token_file= instead")
    if parts.query or parts.fragment:
        raise ValueError("url: ends with a query; write the address alone")
    parts.port  # noqa: B018 - raises ValueError for one that is no port


def _without_user(url: str) -> str:
    scheme, mark, rest = url.rpartition("@")
    return f"...@{rest}" if mark else scheme + rest


def environment(environ: Mapping[str, str] | None = None) -> Mapping[str, str]:
    """What the environment sets, by the name of the argument; empty counts as not set."""
    environ = os.environ if environ is None else environ
    names = ("url", "token", "token_file", "spool", *_FROM_ENVIRONMENT)
    return {name: text for name in names if (text := environ.get(f"COSTMETER_{name.upper()}"))}
