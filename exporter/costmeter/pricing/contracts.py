"""Contracts: what is agreed with a provider, laid over the list prices.

List prices are what the catalogue, the GPU list and the price files say. The first contract
that fits a call and is in force at its time gives the contracted prices; a rate keeps both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from fractions import Fraction

from msgspec import Struct, field

from costmeter.pricing.lines import ANY, EVER_MS, NEVER_MS, Query
from costmeter.pricing.rates import Figure, scale

STANDARD = "standard"


class Commitment(Struct, frozen=True):
    """A flat amount that a calendar month (UTC) costs, and the volume that it pays for.

    `covers` are tokens, or nano-USD of usage at the contract's prices.
    """

    nano: int
    covers: int
    of_tokens: bool


class Contract(Struct, frozen=True):
    """What is agreed from `from_ms` to before `until_ms`. Patterns are globs.

    `figures` are negotiated nano-USD per million priced units by class; `discount` multiplies
    the list prices of every other class (0.88 for 12 %). `processing` "" is every processing
    for the discount, and the standard one for negotiated prices.
    """

    name: str
    provider: str = ANY
    model: str = ANY
    account: str = ANY
    region: str = ANY
    processing: str = ""
    from_ms: int = EVER_MS
    until_ms: int = NEVER_MS
    figures: Mapping[str, Figure] = field(default_factory=dict)
    discount: Fraction | None = None
    reference: str = ""
    commitment: Commitment | None = None

    def active(self, at_ms: int) -> bool:
        return self.from_ms <= at_ms < self.until_ms

    def fits(self, query: Query) -> bool:
        """Whether it says anything of such usage, whenever it is."""
        return (
            (
                self.discount is not None
                or self.commitment is not None
                or self._negotiated(query.processing)
            )
            and self.processing in ("", ANY, query.processing)
            and fnmatchcase(query.provider, self.provider)
            and fnmatchcase(query.model, self.model)
            and fnmatchcase(query.account, self.account)
            and fnmatchcase(query.region, self.region)
        )

    def over(
        self, listed: Mapping[str, Figure] | None, processing: str
    ) -> Mapping[str, Figure] | None:
        """The contracted figures; None where only list prices could say them and none do."""
        found: dict[str, Figure] = {}
        if listed is not None:
            found = dict(listed)
            if self.discount is not None:
                found = scale(listed, self.discount.numerator, self.discount.denominator)
        if self._negotiated(processing):
            found.update(self.figures)
        return found or None

    def identity(self, listed: str, query: Query) -> str:
        """The identity of a rate: the contract's name, and the list price under it."""
        head, since, processing = (
            listed.rsplit("/", 2) if listed else (self.pattern, "start", query.processing)
        )
        if self.from_ms != EVER_MS:
            own = datetime.fromtimestamp(self.from_ms / 1000, UTC).date().isoformat()
            since = own if since == "start" else max(since, own)
        return f"contract:{self.name}+{head}/{since}/{processing}"

    @property
    def pattern(self) -> str:
        return f"{self.provider}/{self.model}"

    @property
    def source(self) -> str:
        told = f" ({self.reference})" if self.reference else ""
        return f"contract {self.name}{told}"

    @property
    def told(self) -> str:
        """Everything that decides a price, and nothing that does not."""
        return repr(
            (
                self.name, self.provider, self.model, self.account, self.region, self.processing,
                self.from_ms, self.until_ms, sorted(self.figures.items()), self.discount,
                self.commitment is not None,
            )
        )  # fmt: skip

    def _negotiated(self, processing: str) -> bool:
        return bool(self.figures) and (self.processing or STANDARD) in (ANY, processing)


class Contracts:
    """All of them, in the order in which they are tried."""

    def __init__(self, contracts: Sequence[Contract]) -> None:
        self._all = tuple(contracts)

    def __iter__(self) -> Iterator[Contract]:
        return iter(self._all)

    def find(self, query: Query, at_ms: int) -> tuple[Contract | None, int, int]:
        """The first that fits and is in force, and the time around `at_ms` in which it is."""
        fitting = [one for one in self._all if one.fits(query)]
        edges = [edge for one in fitting for edge in (one.from_ms, one.until_ms)]
        since = max((edge for edge in edges if edge <= at_ms), default=EVER_MS)
        until = min((edge for edge in edges if edge > at_ms), default=NEVER_MS)
        return next((one for one in fitting if one.active(at_ms)), None), since, until
