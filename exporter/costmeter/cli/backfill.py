"""`costmeter backfill`: the past as OpenMetrics, for promtool."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from costmeter.cli.errors import CommandError
from costmeter.cli.settings import config_of, instant, wall_ms
from costmeter.cli.whole import absent, whole
from costmeter.cli.writing import STDOUT
from costmeter.config import Config
from costmeter.ledger.admission import EXPORTED
from costmeter.ledger.store import Store, open_for_reading, transaction_for_reading
from costmeter.model import MS_PER_DAY, MS_PER_HOUR
from costmeter.reports.backfill import Backfill, Plan
from costmeter.reports.past import Past
from costmeter.reports.timeline import Part, Timeline

#: promtool makes blocks of 2 h x 3^n. The longest below Prometheus' own limit of 31 days.
BLOCK_MS = 486 * MS_PER_HOUR
_STEPS = {"hour": MS_PER_HOUR, "day": MS_PER_DAY}
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_OURS = frozenset({*EXPORTED, "status", "token_class"})


def backfill(arguments: argparse.Namespace) -> int:
    """Write the past; how far it is goes to standard error."""
    config = config_of(arguments)
    step_ms = _STEPS[arguments.by]
    now_ms = wall_ms()
    until_ms = instant(arguments.until, now_ms) if arguments.until else now_ms
    until_ms = min(until_ms, now_ms) // step_ms * step_ms
    labels = _labels(arguments.label, config)
    began = time.monotonic()
    with (
        closing(open_for_reading(config.ledger.path)) as store,
        transaction_for_reading(store.connection),
    ):
        _say("reading the ledger")
        past = Past(store.connection, store.cell_ms, until_ms)
        since_ms = _since(arguments.since, past, now_ms, step_ms)
        if since_ms >= until_ms:
            raise CommandError(
                f"nothing to write: --since {_time(since_ms)} is not before --until "
                f"{_time(until_ms)}; times are rounded down to the {arguments.by}"
            )
        plan = Plan(since_ms, until_ms, step_ms, labels, recorded=not arguments.raw)
        with _parts(arguments, since_ms, until_ms) as parts:
            out = Timeline(parts)
            Backfill(past, out, plan, _zone(store), _say).write()
    _say(
        f"{out.samples:,} samples from {_time(since_ms)} to {_time(until_ms)} "
        f"in {time.monotonic() - began:.1f} s"
    )
    return 0


def _since(text: str, past: Past, now_ms: int, step_ms: int) -> int:
    """The first instant; nothing stands before the first hour of the ledger."""
    first_ms = past.first_ms()
    if first_ms is None:
        raise CommandError("the ledger holds nothing before --until; there is no past to write")
    since_ms = instant(text, now_ms) if text else 0
    return max(since_ms, first_ms, 0) // step_ms * step_ms


def _labels(pairs: Sequence[str], config: Config) -> tuple[tuple[str, str], ...]:
    """Labels of the target; what `--label` does not say is as the first scrape would have it."""
    found = {"instance": config.web.listen_address, "job": "costmeter"}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not _NAME.fullmatch(name) or name.startswith("__"):
            raise CommandError(f"--label {pair!r} is no label; write --label job=costmeter")
        if name in _OURS:
            raise CommandError(f"--label {name}: every series has a {name} of its own")
        found[name] = value
    if not found["job"]:
        raise CommandError("--label job= is empty; one Prometheus job is one ledger")
    return tuple(sorted(found.items()))


def _zone(store: Store) -> str:
    return store.meta("reporting_timezone") or "UTC"


@contextmanager
def _parts(arguments: argparse.Namespace, since_ms: int, until_ms: int) -> Iterator[Sequence[Part]]:
    """One file, standard output, or in a folder a file for each block of promtool's.

    Raises CommandError for one that cannot be written.
    """
    # The last instant belongs to the last file.
    end_ms = until_ms + 1_000
    if arguments.output == STDOUT:
        yield [Part(sys.stdout.buffer, since_ms, end_ms)]
        sys.stdout.buffer.flush()
        return
    target = Path(arguments.output)
    if arguments.output.endswith("/") or target.is_dir():
        starts = range(since_ms // BLOCK_MS * BLOCK_MS, end_ms, BLOCK_MS)
        named = [(target / f"costmeter-{_compact(at)}.om", at, at + BLOCK_MS) for at in starts]
    else:
        named = [(target, since_ms, end_ms)]
    absent([path for path, _, _ in named], force=arguments.force)
    with ExitStack() as stack:
        yield [Part(stack.enter_context(whole(path)), first, last) for path, first, last in named]


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%MZ")


def _compact(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y%m%dT%H")
