"""What a failure of Google's clients means for a source: its reason, text and wait."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from costmeter.sources.backoff import LONGEST_MS, retry_after_ms
from costmeter.sources.contract import SourceError
from costmeter.sources.reading import clean

#: Reasons in BigQuery's errors that say more than the HTTP status, which is 400 or 403.
_REASONS: Mapping[str, str] = {
    "rateLimitExceeded": "throttled",
    "quotaExceeded": "throttled",
    "jobRateLimitExceeded": "throttled",
    "bytesBilledLimitExceeded": "budget",
    "backendError": "server",
    "internalError": "server",
    "tableUnavailable": "server",
    "jobBackendError": "server",
    "responseTooLarge": "too_large",
}
#: Classes by name, so that none has to be imported here.
_KINDS: Mapping[str, str] = {
    "DefaultCredentialsError": "credentials",
    "RefreshError": "credentials",
    "TransportError": "network",
    "GoogleAuthError": "credentials",
    "Timeout": "timeout",
    "ReadTimeout": "timeout",
    "ReadTimeoutError": "timeout",
    "JSONDecodeError": "malformed",
    "ChunkedEncodingError": "malformed",
    "ContentDecodingError": "malformed",
    "ConnectionError": "network",
    "RequestException": "network",
    "RetryError": "timeout",
}
_LIBRARIES = ("google.", "requests", "urllib3", "grpc")
#: Keys, tokens and signatures are long and mixed; names of resources hold a slash or a dot.
_OPAQUE = re.compile(r"(?<![\w/.:@-])(?=[\w+/=]*[0-9])[A-Za-z0-9+/=_]{28,}(?![\w/.:@-])")
_TOKEN = re.compile(r"\b(?:ya29\.|AIza|eyJ)[\w.~+/=-]+")


def source_error(error: Exception, service: str, now_ms: int) -> SourceError:
    """The SourceError for what a client of `service` raised."""
    if type(error).__module__.startswith("google.api_core") and hasattr(error, "errors"):
        return _refused(error, service, now_ms)
    if _caused(error, "IncompleteRead"):
        return SourceError("malformed", f"{service}: the answer was cut off")
    if _caused(error, "timed out"):
        return SourceError("timeout", f"{service} took too long to answer")
    reason: str | None = None
    for kind in type(error).__mro__:
        reason = _KINDS.get(kind.__name__)
        if reason is not None and kind.__module__.startswith(_LIBRARIES):
            if reason == "timeout":
                break
            return SourceError(reason, f"{service}: {_shown(error, reason)}")
    if isinstance(error, TimeoutError) or reason == "timeout":
        return SourceError("timeout", f"{service} took too long to answer")
    # What else comes out of a client comes from reading an answer of no known shape.
    return SourceError(
        "malformed", f"{service}: the answer cannot be read ({type(error).__name__})"
    )


def _refused(error: Exception, service: str, now_ms: int) -> SourceError:
    status = _status(error)
    said = hidden(str(getattr(error, "message", "") or ""))
    text = f"{service} answered {status}{f': {said}' if said else ''}"
    wait = _wait_ms(error, now_ms)
    if "failed to connect" in said or "DNS resolution failed" in said:
        return SourceError("network", f"{service} cannot be reached")
    if "larger than max" in said:
        return SourceError("too_large", text)
    if "deserializ" in said:
        return SourceError("malformed", text)
    if type(error).__name__ == "DeadlineExceeded":
        return SourceError("timeout", f"{service} took too long to answer")
    for reason in _reasons(error):
        if reason in _REASONS:
            return SourceError(_REASONS[reason], text, wait)
    if status == 429:
        return SourceError("throttled", text, wait)
    if status in (401, 403):
        return SourceError("credentials", text, wait)
    if status >= 500 or status in (408, 499) or type(error).__name__ == "Aborted":
        return SourceError("server", text, wait)
    return SourceError("request", text)


def _status(error: Exception) -> int:
    """As HTTP has it; gRPC's unknown trouble and lost data have none, and are the server's."""
    code = getattr(error, "code", None)
    number = getattr(code, "value", code)
    return number if isinstance(number, int) else 500


def _reasons(error: Exception) -> Iterable[str]:
    for item in getattr(error, "errors", None) or ():
        if isinstance(item, Mapping):
            yield str(item.get("reason", ""))


def _wait_ms(error: Exception, now_ms: int) -> int | None:
    """By the headers of HTTP, the trailers of gRPC, or google.rpc.RetryInfo."""
    response = getattr(error, "response", None)
    headers = {str(k).lower(): str(v) for k, v in _headers(response)}
    found = retry_after_ms(headers, now_ms)
    if found is None and headers.get("grpc-retry-pushback-ms", "").isdecimal():
        found = min(int(headers["grpc-retry-pushback-ms"]), LONGEST_MS)
    for detail in getattr(error, "details", None) or ():
        delay = getattr(detail, "retry_delay", None)
        if delay is not None:
            wait = delay.seconds * 1000 + -(-delay.nanos // 1_000_000)
            found = min(max(wait, found or 0), LONGEST_MS)
    return found


def _headers(response: Any) -> Iterable[tuple[str, str]]:
    trailers = getattr(response, "trailing_metadata", None)
    if callable(trailers):
        return [(k, v) for k, v in trailers() or () if isinstance(v, str)]
    headers = getattr(response, "headers", None)
    return list(headers.items()) if headers is not None else ()


def _caused(error: Exception, sign: str) -> bool:
    """What really happened to a body is said some errors down."""
    cause: Any = error
    for _ in range(5):
        if sign in repr(cause):
            return True
        cause = getattr(cause, "__context__", None)
        if cause is None:
            return False
    return False


def _shown(error: Exception, reason: str) -> str:
    if reason == "network":
        return f"cannot be reached ({type(error).__name__})"
    if reason == "malformed":
        return "the answer cannot be read"
    return hidden(str(error.args[0]) if error.args else type(error).__name__)


def hidden(said: str) -> str:
    """A message without what could be a key or a token in it."""
    return _OPAQUE.sub("<hidden>", _TOKEN.sub("<hidden>", clean(said)))
