"""The types that pass between the rooms: usage, bill lines, postings, series.

Standard library only: applications import this module through the SDK.

Units everywhere: money is integer nano-USD (1 USD = 1_000_000_000), instants are
integer Unix milliseconds (UTC), quantities are non-negative integers of the unit
that `QUANTITIES` names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

NANO_PER_USD = 1_000_000_000
MS_PER_HOUR = 3_600_000
MS_PER_DAY = 86_400_000

#: Token classes are disjoint: every token of a call is in exactly one of them.
TOKEN_CLASSES: tuple[str, ...] = (
    "input",
    "cache_read",
    "cache_write_5m",
    "cache_write_1h",
    "output",
    "reasoning",
    "input_audio",
    "cache_read_audio",
    "output_audio",
    "input_image",
    "cache_read_image",
    "output_image",
    "input_video",
    "cache_read_video",
    "output_video",
)

#: What is counted beside tokens, and in which unit one piece is.
UNIT_CLASSES: tuple[str, ...] = (
    "web_searches",
    "social_searches",
    "storage_searches",
    "code_executions",
    "rerank_searches",
    "input_characters",
    "input_messages",
    "input_pixels",
    "input_pages",
    "annotated_pages",
    "audio_ms",
    "input_audio_ms",
    "output_audio_ms",
    "gpu_ms",
    "requests",
)

#: Pieces of a class in one priced unit. A GPU is metered in milliseconds and priced
#: by the hour; whatever is not named here is priced by the piece.
PIECES_PER_PRICED_UNIT: Mapping[str, int] = MappingProxyType(
    {
        "gpu_ms": MS_PER_HOUR,
        "audio_ms": MS_PER_HOUR,
        "input_audio_ms": MS_PER_HOUR,
        "output_audio_ms": MS_PER_HOUR,
    }
)

QUANTITIES: frozenset[str] = frozenset(TOKEN_CLASSES + UNIT_CLASSES)

CATEGORIES: tuple[str, ...] = (
    "gpu_compute",
    "cpu_compute",
    "memory",
    "storage",
    "network",
    "managed_services",
    "llm_api",
    "data_processing",
    "data_annotation",
    "personnel",
    "software_license",
    "support",
    "security_compliance",
)

PROCESSING: tuple[str, ...] = ("standard", "batch", "flex", "priority", "fast")
STATUSES: tuple[str, ...] = ("ok", "error", "aborted")

#: Where a value lands that has no series of its own.
OTHER = "_other"
UNATTRIBUTED = "unattributed"
DEFAULT_TENANT = "default"


class Labels(NamedTuple):
    """Who consumed what: the attributes under which usage is kept.

    An empty string is the value "not said"; it is never NULL.
    """

    tenant_id: str
    category: str
    purpose: str
    provider: str
    account: str
    region: str
    model: str
    environment: str
    team: str
    project: str
    service: str
    feature: str
    operation: str


class Usage(NamedTuple):
    """One record of consumption; it says what was used and never what it cost.

    `event_id` is `p:<provider>:<response_id>` where the provider's response id is
    known and `f:<feed>:<request_id>` otherwise. `feed` names the credential that
    brought the record. `quantities` holds the classes that are not zero.
    `resource` is set on usage that accrues over time (a GPU's uuid): its pieces are
    priced cumulatively within the hour, so that they add up to the whole hour.
    """

    event_id: str
    at_ms: int
    feed: str
    labels: Labels
    quantities: Mapping[str, int]
    status: str = "ok"
    latency_ms: int = 0
    processing: str = "standard"
    user_id: str = ""
    session_id: str = ""
    resource: str = ""
    detail: str = ""
    """JSON text of what is kept but never aggregated: tags, prompt hash, scores."""


class Correction(NamedTuple):
    """Names one booked event and says what was wrong with it.

    `changes` maps fields of `Labels`, `status` or `processing` to the right value;
    `quantities`, when not None, replaces the event's quantities whole.
    """

    correction_id: str
    tenant_id: str
    day: int
    event_id: str
    changes: Mapping[str, str]
    quantities: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class BillLine:
    """A provider's own figure for a period. It is late, and it gets restated.

    `amount` is the bill's own decimal text in `currency`; `usd_nano` is None where no
    rate of exchange is known. `maturity` is estimated, provisional or final.
    """

    scope: str
    day: int
    line: str
    revision: int
    amount: str
    currency: str
    usd_nano: int | None
    labels: Labels
    maturity: str = "estimated"
    basis: str = "effective"
    fx_rate: str = "1"
    fx_day: int = 0


@dataclass(frozen=True, slots=True)
class Posting:
    """One entry of the journal that does not come from a metered call.

    `nano` is signed: a positive amount is spend, a negative one a credit. `hour_ms` is
    when it was consumed. `late_since_ms` is the watermark before which the source had
    delivered everything; None means that it is not late.
    """

    posting_id: str
    hour_ms: int
    kind: str
    labels: Labels
    nano: int
    late_since_ms: int | None = None


#: Labels that a budget may name.
BUDGET_LABELS: tuple[str, ...] = (
    "tenant_id",
    "team",
    "project",
    "feature",
    "provider",
    "model",
    "category",
    "environment",
)


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit for the spend that `match` names; without a match, for the whole ledger.

    `match` holds (label, exact value) pairs, all of which must hold. Thresholds are in
    thousandths of the limit.
    """

    name: str
    limit_nano: int
    match: tuple[tuple[str, str], ...] = ()
    period: str = "month"
    timezone: str = "UTC"
    warning_permille: int = 800
    critical_permille: int = 950
    description: str = ""
    owner: str = ""
    contacts: tuple[str, ...] = ()

    @property
    def tenant_id(self) -> str:
        return dict(self.match).get("tenant_id", "")

    @property
    def series_labels(self) -> tuple[str, str, str]:
        """Values of the labels budget, period and tenant_id."""
        return (self.name, self.period, self.tenant_id)

    def covers(self, labels: Labels) -> bool:
        return all(getattr(labels, name) == value for name, value in self.match)


class Release(NamedTuple):
    """A late amount on its way into a counter, linear between two instants."""

    amount: int
    from_ms: int
    until_ms: int

    def pending(self, clock_ms: int) -> int:
        """What the counter does not show yet at `clock_ms` (0 <= pending <= amount)."""
        if clock_ms >= self.until_ms:
            return 0
        if clock_ms <= self.from_ms:
            return self.amount
        elapsed, span = clock_ms - self.from_ms, self.until_ms - self.from_ms
        return self.amount - self.amount * elapsed // span


class Veil(NamedTuple):
    """Why a counter shows less than it holds: a birth hold, late amounts, or both."""

    position: int
    hold_until_ms: int
    held_value: int
    releases: tuple[Release, ...]


class Chunk(NamedTuple):
    """At most `CHUNK_SIZE` series of one family; immutable, shared between snapshots.

    `labels[i]` are the label values of series i in the order of the catalog,
    `values[i]` is its integer (nano-USD, a count or milliseconds, as the catalog says).
    `veils` is empty for gauges.
    """

    labels: tuple[tuple[str, ...], ...]
    values: tuple[int, ...]
    veils: tuple[Veil, ...] = ()

    def shown(self, clock_ms: int) -> tuple[int, ...]:
        """The values to export at the release clock `clock_ms`."""
        if not self.veils:
            return self.values
        shown = list(self.values)
        for position, hold_until_ms, held_value, releases in self.veils:
            if clock_ms < hold_until_ms:
                shown[position] = held_value
            else:
                for release in releases:
                    shown[position] -= release.pending(clock_ms)
        return tuple(shown)

    def settled(self, clock_ms: int) -> bool:
        """True when no veil can change what is shown after `clock_ms`."""
        return all(
            clock_ms >= veil.hold_until_ms and all(clock_ms >= r.until_ms for r in veil.releases)
            for veil in self.veils
        )


CHUNK_SIZE = 256


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A committed state of the ledger; everything after the ledger reads only this.

    `families` maps a family's key in the metric catalog to its chunks.
    `scalars` are ledger-wide figures by catalog key.
    """

    revision: int
    ledger_id: str
    epoch: int
    release_clock_ms: int
    heartbeat_ms: int
    families: Mapping[str, tuple[Chunk, ...]] = field(default_factory=dict)
    scalars: Mapping[str, int] = field(default_factory=dict)

    def samples(self, family: str) -> Iterator[tuple[tuple[str, ...], int]]:
        """Every series of a family with the value that is exported now."""
        for chunk in self.families.get(family, ()):
            yield from zip(chunk.labels, chunk.shown(self.release_clock_ms), strict=True)


def half_even(numerator: int, denominator: int) -> int:
    """`numerator / denominator` rounded half to even, for a positive denominator."""
    quotient, remainder = divmod(numerator, denominator)
    twice = 2 * remainder
    if twice > denominator or (twice == denominator and quotient & 1):
        return quotient + 1
    return quotient
