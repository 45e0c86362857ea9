"""Frames of HTTP/2 (RFC 9113, section 4): their kinds and flags, and how they are written."""

from __future__ import annotations

import struct

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    0, 1, 3, 4, 6, 7, 8, 9,
)  # fmt: skip
END_STREAM = ACK = 0x1
END_HEADERS, PADDED, PRIORITY = 0x4, 0x8, 0x20
ENABLE_PUSH, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = 2, 4, 5


class Gone(Exception):
    """The connection is of no more use. `unseen`: the server has not begun with the call,
    so it can be made again on another connection."""

    def __init__(self, text: str, *, unseen: bool = False) -> None:
        super().__init__(text)
        self.unseen = unseen


def write_frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def without_padding(flags: int, payload: bytes) -> bytes:
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise Gone("padding without an end")
    return payload[1 : len(payload) - payload[0]]


def leading_number(payload: bytes) -> int:
    if len(payload) < 4:
        raise Gone("a frame that is too short")
    return int.from_bytes(payload[:4], "big")
