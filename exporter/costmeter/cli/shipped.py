"""The rules, dashboards and examples that come with costmeter.

An installed package carries them inside itself, a checkout beside the source root.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from costmeter.cli.errors import CommandError

_PACKAGE = Path(__file__).resolve().parents[1]
_CHECKOUT = _PACKAGE.parents[1]


class Shipped(NamedTuple):
    """One file as it was shipped. `name` is the word that commands know it by."""

    name: str
    file: str
    text: str


def rule_files() -> tuple[Shipped, ...]:
    """`budgets`, `gpu` and so on, by name. Raises CommandError where there are none."""
    return _all("rules", ".rules.yml", _PACKAGE / "alert_rules", _CHECKOUT / "alert_rules")


def dashboard_files() -> tuple[Shipped, ...]:
    """Every dashboard, by name. Raises CommandError where there are none."""
    return _all("dashboards", ".json", _PACKAGE / "dashboards", _CHECKOUT / "dashboards" / "json")


def deploy_file(path: str) -> str:
    """An example below deploy/, such as `prometheus/prometheus.yml`. Raises CommandError."""
    for root in (_PACKAGE, _CHECKOUT):
        found = root / "deploy" / path
        if found.is_file():
            return found.read_text("utf-8")
    raise CommandError(_missing(f"deploy/{path}"))


def choose(shipped: Sequence[Shipped], names: Sequence[str]) -> tuple[Shipped, ...]:
    """Those that are named, in the shipped order; all where nothing is named."""
    known = [item.name for item in shipped]
    for name in names:
        if name not in known:
            raise CommandError(f"there is no {name!r}; choose from {', '.join(known)}")
    return tuple(item for item in shipped if not names or item.name in names)


def _all(what: str, ending: str, *folders: Path) -> tuple[Shipped, ...]:
    for folder in folders:
        paths = sorted(folder.glob(f"*{ending}"))
        if paths:
            return tuple(
                Shipped(path.name.removesuffix(ending), path.name, path.read_text("utf-8"))
                for path in paths
            )
    raise CommandError(_missing(what))


def _missing(what: str) -> str:
    return f"this installation came without its {what}; install the costmeter package again"
