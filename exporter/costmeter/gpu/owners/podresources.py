"""The kubelet's PodResources API: gRPC over its unix socket, for one thread."""

from __future__ import annotations

import os
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote

from costmeter.gpu.owners import podresources_messages as messages
from costmeter.gpu.owners.frames import Gone
from costmeter.gpu.owners.http2 import Answer, Connection, Reset, TooLarge
from costmeter.gpu.owners.podresources_messages import Held
from costmeter.gpu.owners.protobuf import Malformed

_T = TypeVar("_T")
#: A node of 110 pods answers with some tens of kilobytes; official clients stop at 4 MiB
#: unless they are told otherwise.
LARGEST_ANSWER = 16 << 20
#: The kernel's limit for the path of a unix socket.
LONGEST_PATH = 107
_SERVICE = b"/v1.PodResourcesLister/"
_CODES = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND",
    "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED",
    "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip
#: Of an answer without a word of gRPC: something else stands at the socket.
_OF_HTTP = {400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14}
#: Of a call that is broken off (HTTP/2's CANCEL, ENHANCE_YOUR_CALM, INADEQUATE_SECURITY).
_OF_RESET = {8: "CANCELLED", 11: "RESOURCE_EXHAUSTED", 12: "PERMISSION_DENIED"}


class RpcError(Exception):
    """`reason` is gRPC's name of the status; the text is for a person."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class PodResources:
    """Keeps one connection and makes it anew when the kubelet was restarted."""

    def __init__(self, path: Path, *, deadline_seconds: float = 5) -> None:
        self._path = path
        self._seconds = deadline_seconds
        self._connection: Connection | None = None
        self._inode: tuple[int, int] | None = None

    def holders(self) -> list[Held]:
        """The containers that hold devices, of any kind. Raises RpcError."""
        return self._read(messages.holders, b"List")

    def allocatable(self) -> Counter[str]:
        """How many devices there are to give, by resource. Raises RpcError."""
        return self._read(messages.allocatable, b"GetAllocatableResources")

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _read(self, read: Callable[[bytes], _T], method: bytes) -> _T:
        try:
            return read(self._call(method))
        except Malformed as error:
            raise RpcError("INTERNAL", f"the kubelet's answer is unreadable: {error}") from None

    def _call(self, method: bytes) -> bytes:
        until = time.monotonic() + self._seconds
        for last in (False, True):
            try:
                connection = self._connect(until)
                answer = connection.call(self._headers(method), _EMPTY, until, LARGEST_ANSWER + 5)
                return _message(answer)
            except TimeoutError:
                self.close()
                text = f"the kubelet did not answer within {self._seconds:g} seconds"
                raise RpcError("DEADLINE_EXCEEDED", text) from None
            except Reset as error:
                raise RpcError(_OF_RESET.get(error.code, "UNAVAILABLE"), str(error)) from None
            except TooLarge as error:
                self.close()
                raise RpcError("RESOURCE_EXHAUSTED", str(error)) from None
            except Gone as error:
                self.close()
                if last or not error.unseen:
                    raise RpcError("UNAVAILABLE", f"the kubelet: {error}") from None
            except OSError as error:
                self.close()
                raise RpcError(*self._no_connection(error)) from None
        raise AssertionError("the last try returns or raises")

    def _connect(self, until: float) -> Connection:
        """The open connection, if its socket is still the one at the path."""
        if len(os.fsencode(self._path)) > LONGEST_PATH:
            text = f"{self._path} is longer than the {LONGEST_PATH} characters of a socket's path"
            raise RpcError("INVALID_ARGUMENT", f"{text}; mount it at a shorter one")
        found = self._path.stat()
        inode = (found.st_dev, found.st_ino)
        if self._connection is not None and inode != self._inode:
            self.close()
        if self._connection is not None:
            self._connection.check()
            return self._connection
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(max(until - time.monotonic(), 0.001))
            sock.connect(str(self._path))
            self._connection = Connection(sock)
        except BaseException:
            sock.close()
            raise
        self._inode = inode
        return self._connection

    def _headers(self, method: bytes) -> list[tuple[bytes, bytes]]:
        return [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", _SERVICE + method),
            (b":authority", b"localhost"),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
            (b"user-agent", b"costmeter"),
            (b"grpc-timeout", b"%dm" % max(1, round(1000 * self._seconds))),
        ]

    def _no_connection(self, error: OSError) -> tuple[str, str]:
        if isinstance(error, PermissionError):
            text = (
                f"this user may not use the kubelet's socket {self._path}: run as a user that "
                "may (on most nodes root), without further privileges"
            )
            return "PERMISSION_DENIED", text
        if isinstance(error, FileNotFoundError):
            text = (
                f"there is no kubelet socket at {self._path}: mount the folder "
                f"{self._path.parent} of the node, and not the file, which is made anew with "
                "each start of the kubelet"
            )
            return "UNAVAILABLE", text
        return "UNAVAILABLE", f"the kubelet at {self._path}: {error.strerror or error}"


#: A message of no bytes: not compressed, length 0.
_EMPTY = b"\x00" + struct.pack(">I", 0)


def _message(answer: Answer) -> bytes:
    """The one message of a unary call. Raises RpcError."""
    # A call that fails at once has everything in its only headers.
    said = answer.trailers or answer.headers
    status = said.get(b"grpc-status")
    if status is None:
        http = answer.headers.get(b":status", b"")
        code = _OF_HTTP.get(int(http), 2) if http.isdigit() and http != b"200" else 13
        raise RpcError(_CODES[code], f"no gRPC at the socket (HTTP status {http.decode()!r})")
    code = int(status) if status.isdigit() else 2
    if code:
        reason = _CODES[code] if code < len(_CODES) else "UNKNOWN"
        text = unquote(said.get(b"grpc-message", b"").decode(errors="replace"))
        raise RpcError(reason, f"the kubelet refuses: {text or reason}")
    if len(answer.body) < 5:
        raise RpcError("INTERNAL", "the kubelet's answer has no message")
    compressed, size = struct.unpack_from(">BI", answer.body)
    if compressed or len(answer.body) != 5 + size:
        raise RpcError("INTERNAL", "the kubelet's answer is not one plain message")
    return bytes(memoryview(answer.body)[5:])
