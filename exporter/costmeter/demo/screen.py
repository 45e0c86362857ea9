"""What the demonstration says in the terminal."""

from __future__ import annotations

import os
import shutil
import textwrap
import time
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from costmeter.demo.receiver import Message

_RED, _YELLOW, _GREEN, _DIM, _BOLD = "1;31", "1;33", "32", "2", "1"
#: Without a terminal, progress is a line of its own, but not every second.
_PROGRESS_EVERY = 10.0


class Screen:
    """Lines with the seconds since the start; coloured only on a terminal.

    `quiet` leaves the messages and trouble.
    """

    def __init__(self, out: TextIO, *, quiet: bool = False) -> None:
        self._out = out
        self._quiet = quiet
        self._tty = out.isatty()
        self._colours = self._tty and not os.environ.get("NO_COLOR")
        self._started = time.monotonic()
        self._progress_at = -_PROGRESS_EVERY
        self._in_progress = False

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._started

    def step(self, text: str) -> None:
        if not self._quiet:
            self._write(f"{self._paint(_DIM, f'{self.seconds:5.1f} s')}  {text}")

    def note(self, text: str) -> None:
        """What is missing, or not as it should be; said even when quiet."""
        self._write(f"{self._paint(_YELLOW, f'{self.seconds:5.1f} s')}  {text}")

    def links(self, rows: Sequence[tuple[str, str]]) -> None:
        if self._quiet:
            return
        width = max(len(name) for name, _ in rows)
        for name, link in rows:
            self._write(f"         {name:{width}}  {self._paint(_BOLD, link)}")

    def progress(self, text: str) -> None:
        """The state of things: rewritten in place on a terminal, now and then elsewhere."""
        if self._quiet:
            return
        if self._tty:
            columns = shutil.get_terminal_size().columns
            line = f"{self.seconds:5.1f} s  {text}"[: columns - 1]
            self._out.write(f"\r\x1b[K{self._paint(_DIM, line)}")
            self._out.flush()
            self._in_progress = True
        elif self.seconds - self._progress_at >= _PROGRESS_EVERY:
            self._progress_at = self.seconds
            self._write(f"{self.seconds:5.1f} s  {text}")

    def message(self, message: Message) -> None:
        """One message of Alertmanager, as somebody on call reads it."""
        for alert in message.alerts:
            if alert.get("status") == "resolved":
                said = alert["annotations"].get("summary", "")
                self._write(f"{self.seconds:5.1f} s  {self._paint(_GREEN, f'OVER  {said}')}")
            else:
                self._write(self._alert(message.receiver, alert))

    def end(self) -> None:
        """Leave the line of progress behind."""
        if self._in_progress:
            self._out.write("\n")
            self._out.flush()
            self._in_progress = False

    def _alert(self, receiver: str, alert: Mapping[str, Any]) -> str:
        labels, said = alert["labels"], alert["annotations"]
        severity = labels.get("severity", "none")
        critical = severity == "critical"
        kind = "PAGE" if critical else "MESSAGE"
        width = max(40, min(shutil.get_terminal_size((100, 24)).columns, 100))
        title = f"{kind}  {severity.upper()}  to {receiver}, {self.seconds:.0f} s after the start"
        lines = ["", self._paint(_RED if critical else _YELLOW, f"── {title} ".ljust(width, "─"))]
        lines += [
            self._paint(_BOLD, text) for text in textwrap.wrap(said.get("summary", ""), width)
        ]
        lines += textwrap.wrap(said.get("description", ""), width - 2, initial_indent="  ",
                               subsequent_indent="  ")  # fmt: skip
        facts = {"Alert": labels["alertname"], "Budget": _budget(labels),
                 "Runbook": said.get("runbook_url", "")}  # fmt: skip
        lines += [f"  {name:8} {text}" for name, text in facts.items() if text]
        return "\n".join([*lines, ""])

    def _write(self, text: str) -> None:
        clear = "\r\x1b[K" if self._in_progress else ""
        self._in_progress = False
        self._out.write(f"{clear}{text}\n")
        self._out.flush()

    def _paint(self, colour: str, text: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colours else text


def _budget(labels: Mapping[str, str]) -> str:
    if "budget" not in labels:
        return ""
    tenant = f" of tenant {labels['tenant_id']}" if labels.get("tenant_id") else ""
    return f"{labels['budget']}{tenant}, a {labels.get('period', 'month')}"
