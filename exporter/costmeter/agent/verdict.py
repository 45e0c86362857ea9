"""What the server says of a body, and the token that it is sent with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from costmeter.agent.transport import Answer


class Rejected(NamedTuple):
    place: int
    field: str
    reason: str
    retriable: bool


class Verdict(NamedTuple):
    accepted: int
    duplicate: int
    observed: int
    rejected: tuple[Rejected, ...]


def read_verdict(body: bytes, sent: int) -> Verdict | None:
    """The server's answer about `sent` segments; None when it is not one."""
    try:
        said = json.loads(body)
        rejected = tuple(
            Rejected(
                int(one["index"]), str(one["field"]), str(one["reason"]), one["retriable"] is True
            )
            for one in said["rejected"]
        )
        accepted, duplicate, observed = (
            int(said[key]) for key in ("accepted", "duplicate", "observed")
        )
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    places = {one.place for one in rejected}
    whole = accepted + duplicate + observed + len(rejected) == sent
    fits = len(places) == len(rejected) and all(0 <= place < sent for place in places)
    return Verdict(accepted, duplicate, observed, rejected) if whole and fits else None


def said_by(answer: Answer) -> str:
    """The server's own words, short and on one line."""
    try:
        text = str(json.loads(answer.body)["error"])
    except (ValueError, LookupError, TypeError, RecursionError):
        text = answer.body[:200].decode(errors="replace")
    return " ".join(text.split())[:300] or "nothing"


def token_reader(path: Path | None) -> Callable[[], str | None]:
    """Reads the token from its file; ValueError says that no header can carry it."""

    def read() -> str | None:
        if path is None:
            return None
        try:
            token = path.read_bytes().decode("ascii").strip()
        except UnicodeDecodeError:
            token = ""
        if not token or not token.isprintable():
            raise ValueError(f"{path} holds no token: write the text of one token and nothing else")
        return token

    return read
