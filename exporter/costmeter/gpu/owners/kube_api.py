"""Reading from the Kubernetes API: plain HTTPS with the service account's token.

The official client costs 44 MiB of memory; three kinds of GET need none of it.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from costmeter.gpu.owners.health import Counts

_LARGEST = 8 << 20
#: What is missing, by what was asked for.
_RBAC = {
    "pods": ("pods", "get, list, watch", ""),
    "watch": ("pods", "get, list, watch", ""),
    "node": ("nodes", "get", ""),
    "slices": ("resourceslices", "list", "resource.k8s.io"),
}


class ApiError(Exception):
    """`reason` is one word for a metric; the text is for a person."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


def in_cluster(environ: Mapping[str, str] = os.environ) -> str:
    """The API server of the cluster that this process runs in; "" outside of any."""
    host = environ.get("KUBERNETES_SERVICE_HOST", "")
    if not host:
        return ""
    port = environ.get("KUBERNETES_SERVICE_PORT", "443")
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


class KubeApi:
    """One request a connection: between two of them lie minutes."""

    def __init__(
        self, server: str, token_file: Path, ca_file: Path, counts: Counts,
        *, timeout_seconds: float = 5,
    ) -> None:  # fmt: skip
        url = urlsplit(server)
        self._secure = url.scheme == "https"
        self._host = url.hostname or ""
        self._port = url.port
        self._prefix = url.path.rstrip("/")
        self._server = server
        self._token_file = token_file
        self._ca_file = ca_file
        self._counts = counts
        self._seconds = timeout_seconds
        self._open: set[socket.socket | None] = set()
        self._cancelled = False

    def json(self, subject: str, path: str, query: Mapping[str, str] | None = None) -> Any:
        """A whole answer. Raises ApiError."""
        with self.get(subject, path, query) as response:
            body = response.read(_LARGEST + 1)
        if len(body) > _LARGEST:
            raise self.error(subject, "too_large", f"the answer to {path} is too large")
        try:
            return json.loads(body)
        except ValueError as error:
            raise self.error(subject, "malformed", f"no JSON at {path}: {error}") from None

    @contextmanager
    def get(
        self, subject: str, path: str, query: Mapping[str, str] | None = None,
        *, timeout_seconds: float | None = None,
    ) -> Iterator[http.client.HTTPResponse]:  # fmt: skip
        """An answer of status 200, to be read inside; what breaks there is ApiError, too."""
        self._counts.request(subject)
        target = self._prefix + path + (f"?{urlencode(query)}" if query else "")
        connection = response = sock = None
        try:
            connection = self._connect()
            sock = connection.sock
            self._open.add(sock)
            if self._cancelled:
                raise ApiError("cancelled", "it is over")
            connection.request("GET", target, headers=self._headers())
            response = connection.getresponse()
            if response.status != http.client.OK:
                raise self._refusal(subject, response.status, response.read(4096))
            if timeout_seconds is not None:
                sock.settimeout(timeout_seconds)
            yield response
        except ssl.SSLError as error:
            text = f"no trusted connection to {self._server}: {error.reason or error}"
            raise self.error(subject, "tls", f"{text}; see {self._ca_file}") from None
        except (OSError, http.client.HTTPException) as error:
            text = str(error) or type(error).__name__
            raise self.error(subject, "network", f"{self._server}: {text}") from None
        finally:
            self._open.discard(sock)
            for one in (response, connection):
                if one is not None:
                    one.close()

    def cancel(self) -> None:
        """End what other threads are reading, for good; for them it breaks off."""
        self._cancelled = True
        for sock in tuple(self._open):
            if sock is not None:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def error(self, subject: str, reason: str, text: str) -> ApiError:
        """One that is counted."""
        self._counts.error(subject, reason)
        return ApiError(reason, text)

    def _connect(self) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection
        if self._secure:
            # Made anew each time: both files are replaced while a cluster lives.
            context = ssl.create_default_context(cafile=str(self._ca_file))
            connection = http.client.HTTPSConnection(
                self._host, self._port, timeout=self._seconds, context=context
            )
        else:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=self._seconds)
        connection.connect()
        # A watch is silent for long; a peer that went without a word is noticed by this.
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
            if hasattr(socket, option):
                connection.sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        return connection

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "application/json", "User-Agent": "costmeter"}
        try:
            token = self._token_file.read_text().strip()
        except FileNotFoundError:
            # A local proxy (kubectl proxy) needs none; any other server says 401.
            return headers
        return {**headers, "Authorization": f"Bearer {token}"}

    def _refusal(self, subject: str, status: int, body: bytes) -> ApiError:
        try:
            said = str(json.loads(body)["message"])
        except (ValueError, KeyError, TypeError):
            said = f"HTTP {status}"
        if status == http.client.UNAUTHORIZED:
            text = f"the API server does not know the token in {self._token_file}: {said}"
            return self.error(subject, "unauthorized", text)
        if status == http.client.FORBIDDEN:
            resource, verbs, group = _RBAC[subject]
            text = (
                f"the API server forbids it ({said}). RBAC is missing: a ClusterRole with "
                f'apiGroups: ["{group}"], resources: [{resource}], verbs: [{verbs}], bound to '
                "this service account"
            )
            return self.error(subject, "forbidden", text)
        reason = {404: "not_found", 410: "expired", 429: "too_many_requests"}.get(
            status, f"http_{status}"
        )
        return self.error(subject, reason, f"the API server: {said}")
