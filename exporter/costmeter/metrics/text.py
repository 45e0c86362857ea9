"""How the two text formats spell a family: header lines, label values, exact numbers.

Prometheus text format 0.0.4 and OpenMetrics 1.0.0 share their sample lines here; only the
headers differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from types import MappingProxyType

from costmeter.metrics.catalog import Family

#: Digits after the point that the integers of a scale carry.
_DECIMALS: Mapping[str, int] = MappingProxyType({"nano": 9, "milli": 3, "count": 0})


class Shape:
    """One family's lines: a layout with a gap for each number, and what fills the gaps.

    A `plain` layout takes ready text (`1.23456789`). The other takes the integers themselves
    and carries the exponent (`1234567890e-9`): a fifth of the time, and just as exact.
    """

    def __init__(self, family: Family, labels: tuple[str, ...]) -> None:
        self.family = family
        self._decimals = _DECIMALS[family.scale]
        self._optional = tuple(f',{label}=""' for label in labels[len(family.labels) :])
        pairs = ",".join(f'{label}="%s"' for label in labels)
        start = f"{family.name}{{{pairs}}}" if labels else family.name
        exponent = f"e-{self._decimals}" if self._decimals else ""
        self._line = {True: f"{start} %%b\n", False: f"{start} %%d{exponent}\n"}

    def lines(self, labels: tuple[tuple[str, ...], ...], plain: bool) -> bytes:
        """The layout for these series; TypeError when one has not the family's labels."""
        line = self._line[plain]
        everything = "".join(chain.from_iterable(labels))
        if any(special in everything for special in '\\"\n%'):
            labels = tuple(
                tuple(escaped(value).replace("%", "%%") for value in values) for values in labels
            )
        text = "".join([line % values for values in labels])
        for empty in self._optional:
            # An extra label that is not enabled is empty, which is the same as absent. The
            # text cannot stand inside a value: a quote is escaped there.
            text = text.replace(empty, "")
        # A lone surrogate has no UTF-8; one odd label must not cost the scrape.
        return text.encode(errors="replace")

    def gaps(self, values: tuple[int, ...], plain: bool) -> tuple[int | bytes, ...]:
        """What fills the gaps of a layout with these values."""
        if plain:
            return tuple(decimal_text(value, self._decimals) for value in values)
        return values


def named(family: Family, names: frozenset[str]) -> bool:
    """True when `name[]` asks for the family: by its samples' name or OpenMetrics' own."""
    return family.name in names or family.name.removesuffix("_total") in names


def header(family: Family, openmetrics: bool) -> bytes:
    """HELP and TYPE lines. OpenMetrics names a counter without its `_total`."""
    text = family.help.replace("\\", "\\\\").replace("\n", "\\n")
    name = family.name
    if openmetrics:
        text = text.replace('"', '\\"')
        name = name.removesuffix("_total") if family.kind == "counter" else name
    return f"# HELP {name} {text}\n# TYPE {name} {family.kind}\n".encode()


def escaped(value: str) -> str:
    """A label value as it stands between quotes, in both formats."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def decimal_text(value: int, decimals: int) -> bytes:
    """`value / 10**decimals`, exactly, without zeros at the end."""
    if not decimals:
        return b"%d" % value
    whole, part = divmod(abs(value), 10**decimals)
    sign = "-" if value < 0 else ""
    return f"{sign}{whole}.{part:0{decimals}d}".rstrip("0").rstrip(".").encode()
