"""`costmeter replay`: a recorded trace into a running exporter, as if it happened now.

The trace is shifted so that it ends when the replay ends. At a speed of one or more no
event is then ever ahead of the clock: with D the trace's length and t an event's place
in it, the event is sent at t / speed and dated t - D + D / speed, which is not later.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from costmeter.cli.errors import CommandError
from costmeter.cli.settings import wall_ms
from costmeter.cli.trace import Row, mapping_of, read_rows

#: With an exporter that took events before; one that never did is given a second and a half.
_TRIES = 8
_FIRST_TRIES = 5


def replay(arguments: argparse.Namespace) -> int:
    """1 when the exporter refused any event."""
    rows = sorted(read_rows(arguments.file, mapping_of(arguments)), key=lambda row: row.at_ms)
    if not rows:
        raise CommandError(f"{arguments.file} holds no events")
    speed = _speed(arguments.speed)
    length_ms = rows[-1].at_ms - rows[0].at_ms
    started_ms = wall_ms()
    playing_ms = 0 if speed is None else int(length_ms / speed)
    shift_ms = started_ms + playing_ms - rows[-1].at_ms
    if arguments.batch < 1:
        raise CommandError(f"--batch {arguments.batch} is no size; write a number from 1 up")
    sender = _Sender(arguments)
    batch: list[dict[str, Any]] = []
    for number, row in enumerate(rows, 1):
        due_ms = 0 if speed is None else (row.at_ms - rows[0].at_ms) / speed
        wait_ms = started_ms + due_ms - wall_ms()
        if batch and (len(batch) >= arguments.batch or wait_ms > 0):
            sender.send(batch)
            batch = []
            _show(number - 1, len(rows), sender)
        if wait_ms > 0:
            time.sleep(wait_ms / 1_000)
        batch.append(_event(row, row.at_ms + shift_ms, started_ms))
    sender.send(batch)
    _show(len(rows), len(rows), sender, last=True)
    for problem in sender.problems[:10]:
        print(problem, file=sys.stderr)
    return int(sender.rejected > 0)


def _event(row: Row, at_ms: int, run: int) -> dict[str, Any]:
    event = dict(row.event)
    event.setdefault("request_id", f"replay-{run}-{row.line}")
    stamp = datetime.fromtimestamp(at_ms // 1_000, UTC).replace(microsecond=at_ms % 1_000 * 1_000)
    event["timestamp"] = stamp.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return event


class _Sender:
    """Posts batches; a busy or absent exporter is tried again with the same ids."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._url = arguments.url.rstrip("/") + "/api/v1/usage"
        self._headers = {"content-type": "application/json"}
        if arguments.token_file is not None:
            self._headers["authorization"] = f"Bearer {_token(arguments.token_file)}"
        self.accepted = self.duplicate = self.rejected = 0
        self.problems: list[str] = []

    def send(self, batch: Sequence[dict[str, Any]]) -> None:
        answer = self._post(json.dumps(batch).encode())
        self.accepted += answer["accepted"]
        self.duplicate += answer["duplicate"]
        self.rejected += len(answer["rejected"])
        self.problems += [f"{item['field']}: {item['reason']}" for item in answer["rejected"]]

    def _post(self, body: bytes) -> dict[str, Any]:
        if not self._url.startswith(("http://", "https://")):
            raise CommandError(f"{self._url} is no address of an exporter; write http://HOST:PORT")
        reason, wait = "", 0.0
        known = self.accepted + self.duplicate + self.rejected > 0
        for turn in range(_TRIES if known else _FIRST_TRIES):
            if turn:
                time.sleep(wait)
            request = urllib.request.Request(self._url, body, self._headers)  # noqa: S310
            try:
                with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
                    answer: dict[str, Any] = json.load(response)
                    return answer
            except urllib.error.HTTPError as error:
                reason = error.read().decode(errors="replace")
                if error.code not in (429, 503):
                    raise CommandError(f"the exporter answered {error.code}: {reason}") from None
                wait = float(error.headers.get("retry-after") or 1)
            except http.client.InvalidURL as error:
                raise CommandError(f"{self._url} is no address of an exporter: {error}") from None
            except (OSError, http.client.HTTPException, ValueError) as error:
                # An answer that broke off may hide a commit; the same ids are booked once.
                reason = _plain(error)
                wait = min(2**turn / 10, 5)
        if known:
            raise CommandError(f"the exporter at {self._url} takes no more events: {reason}")
        raise CommandError(
            f"no exporter takes events at {self._url}: {reason}; start it with "
            "'costmeter serve', or name another with --url"
        )


def _plain(error: Exception) -> str:
    """Why a request failed, without the wrapping of urllib and the numbers of the system."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__


def _token(path: Path) -> str:
    """The bearer token in a file; no error quotes it."""
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it holds no token"
        raise CommandError(f"{path} cannot be read: {reason}") from None
    if not token or not token.isprintable() or " " in token:
        raise CommandError(f"{path} holds no token; write the token alone, on one line")
    return token


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0
    if not 1 <= speed < float("inf"):
        raise CommandError(f"--speed {text} is no speed; write a number from 1 up, or max")
    return speed


def _show(done: int, total: int, sender: _Sender, *, last: bool = False) -> None:
    if last or sys.stderr.isatty():
        text = (
            f"{done} of {total} events: {sender.accepted} accepted, "
            f"{sender.duplicate} duplicate, {sender.rejected} rejected"
        )
        lead = "\r" if sys.stderr.isatty() else ""
        print(lead + text, end="\n" if last else "", file=sys.stderr, flush=True)
