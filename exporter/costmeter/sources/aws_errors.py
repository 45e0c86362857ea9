"""What a failure of boto3 means for a source: its reason, its text, and how long to wait."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from costmeter.sources.backoff import retry_after_ms
from costmeter.sources.contract import SourceError
from costmeter.sources.reading import clean

#: Codes that mean "too often", whatever the HTTP status; Cost Explorer says the first one.
_THROTTLED = frozenset(
    {
        "LimitExceededException", "Throttling", "ThrottlingException", "ThrottledException",
        "TooManyRequestsException", "RequestLimitExceeded", "RequestThrottled",
        "RequestThrottledException", "SlowDown", "BandwidthLimitExceeded",
        "PriorRequestNotComplete",
    }
)  # fmt: skip
_CREDENTIALS = frozenset(
    {
        "UnrecognizedClientException", "InvalidClientTokenId", "InvalidAccessKeyId",
        "SignatureDoesNotMatch", "IncompleteSignature", "InvalidSignatureException",
        "MissingAuthenticationToken", "MissingAuthenticationTokenException", "AccessDenied",
        "AccessDeniedException", "UnauthorizedOperation", "ExpiredToken", "ExpiredTokenException",
        "RequestExpired", "OptInRequired", "AuthFailure", "NotAuthorized",
    }
)  # fmt: skip
#: The report changed under its pages; the next poll begins it anew.
_CHANGED = frozenset(
    {
        "BillExpirationException", "InvalidNextTokenException", "InvalidNextToken",
        "RequestChangedException",
    }
)  # fmt: skip
#: Classes of botocore by the name, so that none has to be imported here.
_KINDS: Mapping[str, str] = {
    "ReadTimeoutError": "timeout",
    "ConnectTimeoutError": "timeout",
    "EndpointConnectionError": "network",
    "ConnectionClosedError": "network",
    "ConnectionError": "network",
    "HTTPClientError": "network",
    "SSLError": "network",
    "ProxyConnectionError": "network",
    "NoCredentialsError": "credentials",
    "PartialCredentialsError": "credentials",
    "CredentialRetrievalError": "credentials",
    "ProfileNotFound": "credentials",
    "ConfigNotFound": "credentials",
    "ConfigParseError": "credentials",
    "TokenRetrievalError": "credentials",
    "SSOError": "credentials",
    "MetadataRetrievalError": "credentials",
    "ParamValidationError": "request",
    "UnknownServiceError": "request",
    "IncompleteReadError": "malformed",
    "ResponseStreamingError": "malformed",
    "ResponseParserError": "malformed",
}
_KEY_ID = re.compile(r"\b(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{8,}\b")
#: What is long and mixed may be a signature or a token; names of roles hold a slash or colon.
_OPAQUE = re.compile(r"(?<![\w/:.-])(?=[A-Za-z0-9+/=]*[0-9])[A-Za-z0-9+/=]{28,}(?![\w:.-])")


def source_error(error: Exception, service: str, now_ms: int) -> SourceError:
    """The SourceError for what boto3 raised in a call of `service`."""
    response = getattr(error, "response", None)
    if isinstance(response, Mapping) and "Error" in response:
        return _refused(response, service, now_ms)
    for kind in type(error).__mro__:
        reason = _KINDS.get(kind.__name__)
        if reason is not None and kind.__module__.startswith(("botocore", "urllib3")):
            return SourceError(reason, f"{service}: {_plain(str(error))}")
    if type(error).__module__.startswith(("botocore", "boto3")):
        return SourceError("other", f"{service}: {_plain(str(error))}")
    # What else comes out of boto3 comes from reading an answer of no known shape.
    return SourceError(
        "malformed", f"{service}: the answer cannot be read ({type(error).__name__})"
    )


def _refused(response: Mapping[str, Any], service: str, now_ms: int) -> SourceError:
    about = response["Error"] if isinstance(response["Error"], Mapping) else {}
    code = clean(str(about.get("Code") or ""))
    meta = response.get("ResponseMetadata") or {}
    status = meta.get("HTTPStatusCode") or 0
    headers = {str(k).lower(): str(v) for k, v in (meta.get("HTTPHeaders") or {}).items()}
    wait = retry_after_ms(headers, now_ms)
    text = f"{service} answered {status} {code}"
    said = _plain(str(about.get("Message") or ""))
    if said and said != code:
        text = f"{text}: {said}"
    if code in _THROTTLED or status == 429:
        return SourceError("throttled", text, wait)
    if code in _CREDENTIALS or status in (401, 403):
        return SourceError("credentials", text, wait)
    if code in _CHANGED:
        return SourceError("request", f"{text}; the next poll begins anew", wait)
    if status >= 500 or status == 408:
        return SourceError("server", text, wait)
    if 200 <= status < 300:
        return SourceError("malformed", text, wait)
    return SourceError("request", text)


def _plain(said: str) -> str:
    """AWS quotes key ids, and after a wrong signature what was signed."""
    return _OPAQUE.sub("<hidden>", _KEY_ID.sub("<hidden>", clean(said)))
