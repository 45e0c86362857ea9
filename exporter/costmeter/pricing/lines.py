"""Dated price lines: what a person wrote about a price, and which line wins.

The GPU list that comes with the package and the overrides of a user have one shape, so
they are chosen and merged by the same rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from fractions import Fraction

from costmeter.model import QUANTITIES
from costmeter.pricing.rates import FOLLOWING, Figure, scale

ANY = "*"
#: Before and after every instant that a usage record can have.
EVER_MS, NEVER_MS = -(1 << 62), 1 << 62


def is_glob(pattern: str) -> bool:
    return any(sign in pattern for sign in "*?[")


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked of the lines; every text in lower case, `model` in canonical form."""

    provider: str
    model: str
    account: str = ""
    region: str = ""
    instance_type: str = ""
    purchase: str = ""
    processing: str = "standard"


@dataclass(frozen=True, slots=True)
class Line:
    """One dated price. Patterns are globs; `*` fits everything, an empty value included.

    `figures` are nano-USD per million priced units by price key. `discount` multiplies
    the figures below it (0.8 for 20 %); `of_standard` takes the standard processing as
    what it multiplies. `origin` is `file:line`, `source` the text that vouches for it.
    """

    origin: str
    source: str
    provider: str
    model: str
    account: str = ANY
    region: str = ANY
    instance_type: str = ANY
    purchase: str = ANY
    processing: str = "standard"
    from_ms: int = EVER_MS
    until_ms: int = NEVER_MS
    figures: Mapping[str, Figure] = field(default_factory=dict)
    discount: Fraction | None = None
    of_standard: bool = False
    free: bool = False
    is_gpu: bool = False
    position: int = 0

    def fits(self, query: Query) -> bool:
        return (
            self.processing in (ANY, query.processing)
            and fnmatchcase(query.provider, self.provider)
            and fnmatchcase(query.model, self.model)
            and fnmatchcase(query.account, self.account)
            and fnmatchcase(query.region, self.region)
            and fnmatchcase(query.instance_type, self.instance_type)
            and fnmatchcase(query.purchase, self.purchase)
        )

    def active(self, at_ms: int) -> bool:
        return self.from_ms <= at_ms < self.until_ms

    @property
    def weight(self) -> tuple[int, int, int]:
        """The line with the greater weight wins: the more it names, then the later.

        A plain name counts twice a glob; a later start beats an earlier one, and of two
        that start together the one that is written later wins.
        """
        named = 0
        for pattern in (
            self.account,
            self.instance_type,
            self.region,
            self.model,
            self.provider,
            self.purchase,
            self.processing,
        ):
            if pattern != ANY:
                named += 1 if is_glob(pattern) else 2
        return named, self.from_ms, self.position


def best(lines: Iterable[Line], at_ms: int) -> Line | None:
    """The line that holds at an instant, of lines that all fit."""
    active = [line for line in lines if line.active(at_ms)]
    return max(active, key=lambda line: line.weight, default=None)


def merge(
    line: Line, below: Mapping[str, Figure] | None, standard: Mapping[str, Figure] | None
) -> dict[str, Figure] | None:
    """The figures of a line laid over those below it, key by key; None when none are known.

    A key that the line does not name keeps the figure below. A discount without figures
    below it prices nothing: the usage stays unpriced rather than free.
    """
    if line.free:
        return dict.fromkeys(QUANTITIES - FOLLOWING, 0)
    if line.discount is not None:
        base = standard if line.of_standard else below
        if base is None:
            return None
        discounted = scale(base, line.discount.numerator, line.discount.denominator)
        return {**discounted, **line.figures}
    return {**(below or {}), **line.figures}


def edges(lines: Sequence[Line], at_ms: int) -> tuple[int, int]:
    """The time around `at_ms` in which no line begins or ends."""
    instants = [instant for line in lines for instant in (line.from_ms, line.until_ms)]
    before = max((instant for instant in instants if instant <= at_ms), default=EVER_MS)
    after = min((instant for instant in instants if instant > at_ms), default=NEVER_MS)
    return before, after
