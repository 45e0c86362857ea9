"""Rows of a trace file as usage events: CSV by column mapping, or NDJSON as it is."""

from __future__ import annotations

import argparse
import csv
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from costmeter.cli.errors import CommandError
from costmeter.model import TOKEN_CLASSES

_FIELDS = (
    "timestamp", "request_id", "response_id", "provider", "model", "account", "region",
    "tenant_id", "environment", "team", "project", "service", "feature", "user_id",
    "session_id", "operation", "status", "processing", "latency_ms",
)  # fmt: skip
#: Usage is from 1970 on and not from the far future: dates stay dates when they are moved.
_LAST_MS = 7_258_118_400_000
_FRACTION = re.compile(r"(\.\d{6})\d+")


class Row(NamedTuple):
    """One line of the file: the event without its final id, and what else it said."""

    line: int
    at_ms: int
    event: dict[str, Any]
    rest: Mapping[str, str]


class Mapped(NamedTuple):
    """Which column holds which field, and what is the same for every row."""

    columns: Mapping[str, str]
    constants: Mapping[str, str]


def mapping_of(arguments: argparse.Namespace) -> Mapped:
    """From `--columns` and `--set`. Raises CommandError for a field there is not."""
    columns = dict(_pair(text, "--columns") for text in arguments.columns.split(",") if text)
    constants = dict(_pair(text, "--set") for text in arguments.set)
    for name in (*columns, *constants):
        if name not in _FIELDS and name not in TOKEN_CLASSES:
            known = ", ".join((*_FIELDS, *TOKEN_CLASSES))
            raise CommandError(f"there is no field {name!r}; write one of {known}")
    return Mapped(columns, constants)


def read_rows(path: Path, mapped: Mapped) -> Iterator[Row]:
    """The rows in the file's order. Raises CommandError with the line of what is wrong."""
    try:
        # A byte order mark, as spreadsheets write it, is no part of the first column's name.
        with path.open(encoding="utf-8-sig", newline="") as handle:
            if path.suffix in (".ndjson", ".jsonl"):
                yield from _json_rows(path, handle, mapped)
            else:
                yield from _csv_rows(path, handle, mapped)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise CommandError(f"{path} cannot be read: {reason}") from None


def instant_ms(text: str) -> int:
    """Unix seconds, or a date and time (UTC where no zone is said), in milliseconds."""
    try:
        if re.fullmatch(r"\d{9,10}(\.\d+)?", text):
            whole, _, part = text.partition(".")
            return int(whole) * 1_000 + int((part + "000")[:3])
        parsed = datetime.fromisoformat(_FRACTION.sub(r"\1", text.strip()))
    except ValueError:
        raise CommandError(f"{text!r} is no time") from None
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=UTC)
    at_ms = (int(parsed.timestamp()) * 1_000) + parsed.microsecond // 1_000
    if not 0 <= at_ms < _LAST_MS:
        raise CommandError(f"{text!r} is no time of a call; it lies before 1970 or after 2199")
    return at_ms


def _csv_rows(path: Path, handle: Iterator[str], mapped: Mapped) -> Iterator[Row]:
    reader = csv.DictReader(handle, restkey="")
    missing = set(mapped.columns.values()) - set(reader.fieldnames or ())
    if missing:
        raise CommandError(
            f"{path} has no column {', '.join(sorted(missing))}; its columns are "
            f"{', '.join(reader.fieldnames or ())}"
        )
    if "timestamp" not in mapped.columns:
        raise CommandError(
            "which column holds the time? write --columns timestamp=COLUMN,...; the columns of "
            f"{path} are {', '.join(reader.fieldnames or ())}"
        )
    for record in reader:
        line = reader.line_num
        try:
            event: dict[str, Any] = dict(mapped.constants)
            tokens: dict[str, int] = {}
            for name, column in mapped.columns.items():
                text = record[column] or ""
                if name in TOKEN_CLASSES:
                    tokens[name] = _count(column, text)
                elif name == "latency_ms":
                    event[name] = int(float(text or 0))
                elif name != "timestamp":
                    event[name] = text
            event["tokens"] = tokens
            at_ms = instant_ms(record[mapped.columns["timestamp"]] or "")
        except (ValueError, OverflowError, CommandError) as error:
            raise CommandError(f"{path}:{line}: {error}") from None
        yield Row(line, at_ms, event, record)


def _count(column: str, text: str) -> int:
    """A whole number; 638.0 too, as data frames write a column that has gaps."""
    whole, _, part = (text.strip() or "0").partition(".")
    if whole.isascii() and whole.isdigit() and not part.strip("0"):
        return int(whole)
    raise CommandError(f"{column} {text!r} is no count; write a whole number, 0 or more")


def _json_rows(path: Path, handle: Iterator[str], mapped: Mapped) -> Iterator[Row]:
    for line, text in enumerate(handle, 1):
        if not text.strip():
            continue
        try:
            event = {**mapped.constants, **json.loads(text)}
            # What Python reads and JSON does not know: NaN, 1e999, half of a character.
            json.dumps(event, allow_nan=False, ensure_ascii=False).encode()
            at_ms = instant_ms(str(event.pop("timestamp")))
        except (ValueError, KeyError, TypeError, RecursionError, CommandError) as error:
            raise CommandError(f"{path}:{line}: no usage event ({error})") from None
        yield Row(line, at_ms, event, {})


def _pair(text: str, flag: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not value:
        raise CommandError(f"{flag} {text!r} is no pair; write FIELD=VALUE")
    return name.strip(), value.strip()
