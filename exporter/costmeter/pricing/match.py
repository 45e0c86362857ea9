"""Which model of the catalogue a name means: match rules, and an index over them.

A rule is a mapping with one key: equals, starts_with, ends_with, contains, regex, or,
and. Texts are compared in lower case; a regular expression is searched as it stands.
The first model of a provider whose rule fits is the one that is meant.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import Any

Predicate = Callable[[str], bool]

_DATED = re.compile(r"(-)(20\d{2})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=-|:|$)")


def predicate(rule: Mapping[str, Any]) -> Predicate:
    """The rule as a function of a lower-case text. ValueError for an unknown rule."""
    ((kind, value),) = rule.items()
    if kind in ("or", "and"):
        parts = [predicate(part) for part in value]
        if kind == "or":
            return lambda text: any(part(text) for part in parts)
        return lambda text: all(part(text) for part in parts)
    if kind == "regex":
        search = re.compile(value).search
        return lambda text: search(text) is not None
    wanted = str(value).lower()
    if kind == "equals":
        return lambda text: text == wanted
    if kind == "starts_with":
        return lambda text: text.startswith(wanted)
    if kind == "ends_with":
        return lambda text: text.endswith(wanted)
    if kind == "contains":
        return lambda text: wanted in text
    raise ValueError(f"unknown match rule {kind!r}")


class FirstMatch:
    """Finds the lowest position whose rule fits; plain names by hash, the rest in order."""

    def __init__(self, rules: Iterable[Mapping[str, Any]]) -> None:
        self._exact: dict[str, int] = {}
        self._rest: list[tuple[int, Predicate]] = []
        for position, rule in enumerate(rules):
            for part in rule.get("or", [rule]):
                if "equals" in part:
                    self._exact.setdefault(str(part["equals"]).lower(), position)
                else:
                    self._rest.append((position, predicate(part)))

    def find(self, text: str) -> int | None:
        exact = self._exact.get(text)
        for position, fits in self._rest:
            if exact is not None and position > exact:
                break
            if fits(text):
                return position
        return exact


def with_dashed_date(name: str) -> str:
    """`gpt-5.2-20251211` as `gpt-5.2-2025-12-11`: some gateways write dates compactly."""

    def dashed(found: re.Match[str]) -> str:
        year, month, day = (int(found.group(group)) for group in (2, 3, 4))
        try:
            return f"-{date(year, month, day).isoformat()}"
        except ValueError:
            return found.group(0)

    return _DATED.sub(dashed, name)
