"""Log lines as logfmt or JSON, on standard error."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.:/+,")


class _Lines(logging.Formatter):
    def __init__(self, *, as_json: bool) -> None:
        super().__init__()
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        stamp = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields = {
            "ts": stamp.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": record.getMessage(),
        }
        if record.exc_info:
            fields["error"] = self.formatException(record.exc_info)
        if self._as_json:
            return json.dumps(fields)
        return " ".join(f"{key}={_quoted(value)}" for key, value in fields.items())


def set_up_logging(level: str, style: str) -> None:
    """`level` debug to error, `style` logfmt or json; may be called again."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines(as_json=style == "json"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # It says by itself what costmeter says in its own words, and calls its logger "error".
    logging.getLogger("uvicorn").setLevel(logging.WARNING)


def _quoted(value: str) -> str:
    return value if value and _PLAIN.issuperset(value) else json.dumps(value)
