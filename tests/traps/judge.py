"""The shipped rules over recorded pages, by a real Prometheus; which alerts fire, and when.

Expressions are evaluated as range queries over finished blocks, so a month takes seconds. What
Prometheus does with an alert's results (`for`, `keep_firing_for`) is done here in its words; a
test sets it against promtool.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from rules.tools import program
from simulation.plan import RULES, Rule
from simulation.served import History, folder_of
from traps.ledgers import Span
from traps.scrapes import reading

_HOUR, _MINUTE = 3_600_000, 60_000
_UNITS = {"s": 1_000, "m": _MINUTE, "h": _HOUR, "d": 24 * _HOUR}

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Wait:
    """An alerting rule as far as its expression does not say it."""

    name: str
    expression: str
    for_ms: int
    keep_ms: int
    labels: Mapping[str, str]


class Firing(NamedTuple):
    """An alert of a job with the rest of its labels, and the time it fired: [from, to]."""

    alert: str
    job: str
    labels: Labels
    from_ms: int
    to_ms: int


def waits() -> list[Wait]:
    """The shipped alerts with their waits."""
    found: list[Wait] = []
    for path in sorted(RULES.glob("*.rules.yml")):
        document: Any = yaml.safe_load(path.read_text("utf-8"))
        rules = [rule for group in document["groups"] for rule in group["rules"]]
        found += [
            Wait(
                rule["alert"],
                rule["expr"].strip(),
                _ms(rule.get("for", "0s")),
                _ms(rule.get("keep_firing_for", "0s")),
                rule.get("labels", {}),
            )
            for rule in rules
            if "alert" in rule
        ]
    return found


def judge(root: Path, lines: Iterable[bytes], span: Span, look: Sequence[Span]) -> list[Firing]:
    """Every alert that fired, evaluated at full hours of `span` and minutes of `look`."""
    spans = list(_parts(span, look))
    instants = [
        (at_ms, step - _MINUTE)
        for first, last, step in spans
        for at_ms in range(first, last + 1, step)
    ]
    _blocks(root, "scraped", lines)
    for number, level in enumerate(reading().plan.levels):
        with History(root) as prometheus:
            _blocks(root, f"level-{number}", _recorded(prometheus, level, spans))
    found: list[Firing] = []
    with History(root) as prometheus, ThreadPoolExecutor(2) as pool:

        def ask(wait: Wait) -> list[tuple[Labels, set[int]]]:
            return _active(prometheus, wait, spans)

        alerts = waits()
        for wait, results in zip(alerts, pool.map(ask, alerts), strict=True):
            for labels, active in results:
                known = dict(labels) | dict(wait.labels)
                known.pop("__name__", None)
                job = known.pop("job", "")
                for from_ms, to_ms in firing(instants, active, wait.for_ms, wait.keep_ms):
                    rest = tuple(sorted(known.items()))
                    found.append(Firing(wait.name, job, rest, from_ms, to_ms))
    return sorted(found, key=lambda f: (f.job, f.from_ms, f.alert))


def _parts(span: Span, look: Sequence[Span]) -> Iterator[tuple[int, int, int]]:
    """First and last instant and step of what is evaluated, one after the other."""
    from_ms = span.from_ms
    for fine in sorted(look):
        if from_ms < fine.from_ms:
            yield from_ms, fine.from_ms - _HOUR, _HOUR
        yield fine.from_ms, fine.to_ms - _MINUTE, _MINUTE
        from_ms = fine.to_ms
    yield from_ms, span.to_ms - 1, _HOUR


def firing(
    instants: Sequence[tuple[int, int]], active: set[int], for_ms: int, keep_ms: int
) -> list[tuple[int, int]]:
    """The first and last instants of each time in which an alert fires.

    `instants` are those of evaluations, each with how long nobody looks after it: what is true at
    a full hour counts as true for all of it, so that no short wait hides it.
    """
    found: list[tuple[int, int]] = []
    since: int | None = None
    kept: int | None = None
    fires = False
    for now, unseen_ms in instants:
        if now in active:
            kept = None
            since = now if since is None else since
            if not fires and now - since + unseen_ms >= for_ms:
                fires = True
                found.append((now, now))
        elif fires:
            kept = now if kept is None else kept
            if now - kept >= keep_ms:
                fires, since, kept = False, None, None
        else:
            since = None
        if fires:
            found[-1] = (found[-1][0], now)
    return found


def _active(
    prometheus: History, wait: Wait, spans: Sequence[tuple[int, int, int]]
) -> list[tuple[Labels, set[int]]]:
    found: dict[Labels, set[int]] = {}
    for span in spans:
        for labels, values in prometheus.matrix(wait.expression, *span):
            found.setdefault(labels, set()).update(round(at * 1000) for at, _ in values)
    return list(found.items())


def _recorded(
    prometheus: History, rules: Sequence[Rule], spans: Sequence[tuple[int, int, int]]
) -> list[bytes]:
    def ask(rule: Rule) -> list[bytes]:
        # Sides of an `or` may differ in their names alone; recorded they are one series.
        found: dict[str, list[tuple[float, str]]] = {}
        for span in spans:
            for labels, values in prometheus.matrix(rule.expression, *span):
                pairs = ",".join(f'{n}="{t}"' for n, t in labels if n != "__name__")
                found.setdefault(f"{rule.record}{{{pairs}}} ", []).extend(values)
        return [
            f"{start}{value} {at:.3f}\n".encode()
            for start, values in found.items()
            for at, value in sorted(values)
        ]

    with ThreadPoolExecutor(2) as pool:
        return [line for lines in pool.map(ask, rules) for line in lines]


def _blocks(root: Path, name: str, lines: Iterable[bytes]) -> None:
    root.mkdir(parents=True, exist_ok=True)
    blocks = folder_of(root)
    blocks.mkdir(exist_ok=True)
    file = root / f"{name}.om"
    with file.open("wb") as out:
        out.writelines(lines)
        out.write(b"# EOF\n")
    done = subprocess.run(
        [
            program("promtool"), "tsdb", "create-blocks-from", "--max-block-duration=2000h",
            "--quiet", "openmetrics", str(file), str(blocks),
        ],
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        raise AssertionError(f"promtool refuses {file}: {done.stderr}")
    file.unlink()
    shutil.rmtree(blocks / "wal", ignore_errors=True)


def _ms(text: str) -> int:
    return int(text[:-1]) * _UNITS[text[-1]]
