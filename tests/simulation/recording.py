"""Recording rules over a finished history, level by level, by a real Prometheus."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from simulation.archive import BLOCK_MS, BlockFiles
from simulation.plan import Alert, Plan, Rule
from simulation.served import History, folder_of

#: Prometheus gives at most 11,000 points of a series at once.
_MOST_POINTS = 10_000

#: start, end and step of a range query, in milliseconds.
Span = tuple[int, int, int]
#: What was recorded, by the number of its block: instant and line.
Lines = dict[int, list[tuple[int, bytes]]]


def record(root: Path, rules: Plan, spans: Sequence[Span], say: Callable[[str], None]) -> None:
    """Evaluate recording rules and alerts on the blocks of `root`/tsdb; results go there, too.

    The rules of all levels end up in one row of blocks: many blocks of the same time would make
    every query slower than it is on a Prometheus that recorded as time went by.
    """
    everything: Lines = {}
    blocks = folder_of(root)
    own: set[Path] = set()
    for number, level in enumerate(rules.levels, start=1):
        say(f"recording rules, level {number} of {len(rules.levels)}: {len(level)}")
        lines: Lines = {}
        with History(root) as prometheus:
            for rule in level:
                _evaluate(prometheus, rule, spans, lines)
        for block, found in lines.items():
            everything.setdefault(block, []).extend(found)
        before = set(blocks.iterdir())
        _write(root / "recorded", blocks, lines)
        own |= set(blocks.iterdir()) - before
    say(f"alerts: {len(rules.alerts)}")
    with History(root) as prometheus:
        for alert in rules.alerts:
            _watch(prometheus, alert, spans, everything)
    for path in own:
        shutil.rmtree(path)
    _write(root / "recorded", blocks, everything)


def _evaluate(
    prometheus: History,
    rule: Rule,
    spans: Sequence[Span],
    lines: Lines,
) -> None:
    for start_ms, end_ms, step_ms in _bounded(spans):
        for labels, values in prometheus.matrix(rule.expression, start_ms, end_ms, step_ms):
            start = _series(rule.record, dict(labels))
            for at, value in values:
                _add(lines, start, value, round(at * 1000))


def _watch(prometheus: History, alert: Alert, spans: Sequence[Span], lines: Lines) -> None:
    """The series ALERTS, as Prometheus writes it for an alert that is pending or fires."""
    since: dict[str, tuple[int, int]] = {}
    for start_ms, end_ms, step_ms in _bounded(spans):
        for labels, values in prometheus.matrix(alert.expression, start_ms, end_ms, step_ms):
            known = dict(labels) | dict(alert.labels) | {"alertname": alert.name}
            pending = _series("ALERTS", known | {"alertstate": "pending"})
            firing = _series("ALERTS", known | {"alertstate": "firing"})
            for at, _ in values:
                at_ms = round(at * 1000)
                first_ms, last_ms = since.get(firing, (at_ms, at_ms))
                if at_ms - last_ms > step_ms:
                    first_ms = at_ms
                since[firing] = (first_ms, at_ms)
                held = at_ms - first_ms >= alert.hold_ms
                _add(lines, firing if held else pending, "1", at_ms)


def _add(lines: Lines, series: str, value: str, at_ms: int) -> None:
    line = f"{series} {value} {at_ms / 1000:.3f}\n".encode()
    lines.setdefault(at_ms // BLOCK_MS, []).append((at_ms, line))


def _series(name: str, labels: Mapping[str, str]) -> str:
    pairs = ",".join(
        f'{label}="{_escaped(value)}"' for label, value in labels.items() if label != "__name__"
    )
    return f"{name}{{{pairs}}}"


def _write(folder: Path, blocks: Path, lines: Lines) -> None:
    files = BlockFiles(folder, blocks)
    for number in sorted(lines):
        files.write(number * BLOCK_MS, [line for _, line in sorted(lines[number])])
    files.close()


def _bounded(spans: Sequence[Span]) -> Iterator[Span]:
    for start_ms, end_ms, step_ms in spans:
        part_ms = _MOST_POINTS * step_ms
        for first_ms in range(start_ms, end_ms + 1, part_ms):
            yield first_ms, min(end_ms, first_ms + part_ms - step_ms), step_ms


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
