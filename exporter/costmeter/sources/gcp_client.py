"""One identity at Google Cloud, and the patience that its calls share.

Credentials are the application default ones, or a service account's JSON in a file. The
retries of Google's clients are off: a call is tried again here, where each try is counted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from costmeter.sources.allowance import AllowanceSpent
from costmeter.sources.contract import Desk, Settings, SourceError
from costmeter.sources.gcp_errors import source_error
from costmeter.sources.options import Options

_MOST_TRIES = 4
_LONGEST_PAUSE_MS = 60_000
_FIRST_PAUSE_MS = 1_000
#: What heals by repetition within a poll.
_HEALING = frozenset({"throttled", "server", "timeout", "network", "malformed"})
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_MOST_BYTES = 65_536
_PROJECT = re.compile(r"([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,61}[a-z0-9]")
_T = TypeVar("_T")


class Endpoint(NamedTuple):
    """Where a service is asked. Without TLS only on this machine, and then by nobody."""

    host: str
    port: int
    secure: bool

    @property
    def address(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def endpoint_of(base_url: str, default: str) -> Endpoint:
    """`default` is the service's own host; raises ValueError for what cannot be used."""
    if not base_url:
        return Endpoint(default, 443, secure=True)
    parts = urlsplit(base_url)
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.path not in ("", "/"):
        raise ValueError(f"{base_url!r} is no base URL; write one like https://{default}")
    secure = parts.scheme == "https"
    if not secure and parts.hostname not in _LOOPBACK:
        raise ValueError("the base URL would send a token in the clear; write https://")
    return Endpoint(parts.hostname, parts.port or (443 if secure else 80), secure)


class Identity:
    """Who asks; takes the option credentials_file."""

    def __init__(self, settings: Settings, options: Options, endpoint: Endpoint) -> None:
        """Raises ValueError for a key, which Google Cloud does not take."""
        if settings.secret.named:
            raise ValueError(
                "Google Cloud takes no key by itself; write option credentials_file=PATH with a "
                "service account's JSON, or nothing for the application default credentials"
            )
        said = options.word("credentials_file", "")
        self._path = Path(said) if said else None
        self._anonymous = not endpoint.secure
        self._known: tuple[bytes, Any] | None = None

    def __repr__(self) -> str:
        return f"Identity({self._path or 'application default'})"

    def credentials(self, scope: str) -> tuple[Any, bytes]:
        """Credentials, and a mark that changes with them; raises SourceError.

        A file is read anew each time, so that its key can be rotated.
        """
        if self._path is not None:
            info, mark = self._from_file(self._path)
            if self._known is None or self._known[0] != mark:
                self._known = (mark, _service_account(info, scope, self._path))
        elif self._known is None and not self._anonymous:
            self._known = (b"default", _default(scope))
        if self._anonymous or self._known is None:
            return _nobody(), b"anonymous"
        return self._known[1], self._known[0]

    def _from_file(self, path: Path) -> tuple[dict[str, Any], bytes]:
        try:
            with path.open("rb") as stream:
                raw = stream.read(_MOST_BYTES + 1)
        except OSError as error:
            raise SourceError("credentials", f"{path} cannot be read: {error.strerror}") from None
        try:
            info = json.loads(raw[:_MOST_BYTES])
        except ValueError:
            info = None
        if not isinstance(info, dict) or info.get("type") != "service_account":
            raise SourceError(
                "credentials",
                f"{path} holds no service account's JSON; for other kinds of credentials name "
                "the file in the variable GOOGLE_APPLICATION_CREDENTIALS instead",
            )
        return info, blake2b(raw, digest_size=16).digest()


def _nobody() -> Any:
    import google.auth.credentials

    anonymous: Any = google.auth.credentials.AnonymousCredentials
    return anonymous()


def _service_account(info: dict[str, Any], scope: str, path: Path) -> Any:
    from google.oauth2 import service_account

    kind: Any = service_account.Credentials
    try:
        return kind.from_service_account_info(info, scopes=[scope])
    except Exception as error:  # noqa: BLE001 - what it says may quote the key
        raise SourceError(
            "credentials",
            f"{path} holds a service account's JSON that cannot be used ({type(error).__name__}); "
            "download its key again",
        ) from None


def _default(scope: str) -> Any:
    import google.auth

    try:
        found, _ = google.auth.default(scopes=[scope])
    except Exception as error:  # noqa: BLE001 - each way to fail gets its reason
        raise source_error(error, "Google's application default credentials", 0) from None
    return found


def needs(module: str) -> None:
    """Raise ValueError where a package is missing, without the time that loading it takes."""
    try:
        found = find_spec(module)
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise ValueError(f"needs {module}; install it with: pip install 'costmeter[gcp]'")


def projects_of(said: str) -> tuple[str, ...]:
    """Ids of projects with '+' between them; raises ValueError."""
    found = tuple(dict.fromkeys(word for word in said.split("+") if word))
    wrong = [word for word in found if not _PROJECT.fullmatch(word)]
    if wrong or not found:
        what = f"project={wrong[0]} is no id of a project" if wrong else "project is missing"
        raise ValueError(f"option {what}; write one like project=acme-prod, more with '+' between")
    return found


def take(desk: Desk, nano: int = 0) -> None:
    """Ask the allowance for one call; raises SourceError."""
    try:
        desk.allowance.take(desk.clock.now_ms(), nano)
    except AllowanceSpent as error:
        raise SourceError("budget", str(error), error.wait_ms) from None


def patiently(desk: Desk, service: str, call: Callable[[], _T]) -> _T:
    """What `call` returns, passing trouble waited out; raises SourceError."""
    for attempt in range(1, _MOST_TRIES + 1):
        try:
            return call()
        except SourceError as error:
            failed = error
        except Exception as error:  # noqa: BLE001 - each way to fail gets its reason
            failed = source_error(error, service, desk.clock.now_ms())
        if failed.reason not in _HEALING:
            break
        wait = failed.retry_after_ms
        wait = _FIRST_PAUSE_MS << (attempt - 1) if wait is None else wait
        if attempt == _MOST_TRIES or wait > _LONGEST_PAUSE_MS:
            break
        if desk.pause(wait / 1000):
            failed = SourceError("stopped", "the exporter is stopping")
            break
    raise failed from None
