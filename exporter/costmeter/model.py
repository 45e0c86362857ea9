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
    "unmetered_calls",
    "gpu_ms",
    "gpu_idle_ms",
    "gpu_unallocated_ms",
    "gpu_unobserved_ms",
    "gpu_energy_mj",
    "cpu_core_ms",
    "memory_mib_ms",
    "storage_mib_ms",
    "network_bytes",
    "requests",
)

#: Time of a GPU by what it was: used, allocated to somebody without a kernel running,
#: allocated to nobody, not looked at. Each has the price of the GPU's hour.
GPU_TIME_CLASSES: tuple[str, ...] = (
    "gpu_ms",
    "gpu_idle_ms",
    "gpu_unallocated_ms",
    "gpu_unobserved_ms",
)
#: What a GPU drew meanwhile. It costs something where its price tells it apart.
GPU_ENERGY = "gpu_energy_mj"

_MIB_PER_GIB = 1024
#: An average month of a machine: 365 days in twelve parts.
HOURS_PER_MONTH = 730

_MJ_PER_KWH = 3_600_000_000

#: Pieces of a class in one priced unit. A GPU is metered in milliseconds and priced
#: by the hour, its energy is metered in millijoules and priced by the kWh, memory by the
#: GiB-hour, storage by the GiB-month of 730 hours, a network by 10^9 bytes; whatever is not
#: named here is priced by the piece.
PIECES_PER_PRICED_UNIT: Mapping[str, int] = MappingProxyType(
    {
        **dict.fromkeys(GPU_TIME_CLASSES, MS_PER_HOUR),
        GPU_ENERGY: _MJ_PER_KWH,
        "cpu_core_ms": MS_PER_HOUR,
        "memory_mib_ms": _MIB_PER_GIB * MS_PER_HOUR,
        "storage_mib_ms": _MIB_PER_GIB * HOURS_PER_MONTH * MS_PER_HOUR,
        "network_bytes": 10**9,
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

#: What a line of a bill is for, and how sure its provider is of it.
CHARGES: tuple[str, ...] = ("usage", "tax", "purchase", "support", "credit", "adjustment")
MATURITIES: tuple[str, ...] = ("estimated", "provisional", "final")

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
    """A provider's own figure for a day (UTC). It is late, and it gets restated.

    `amount` is the bill's own decimal text in `currency`; `usd_nano` is None where no
    rate of exchange is known. `maturity` is estimated, provisional or final. `line` names
    it within its source and day, and a higher `revision` takes its place. `charge` is one
    of `CHARGES`: only usage is matched with meters. The ledger decides the scope from the
    labels, as it does for usage; `scope` is what the source takes it for.
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
    charge: str = "usage"


@dataclass(frozen=True, slots=True)
class Posting:
    """One entry of the journal that does not come from a metered call.

    `nano` is signed: a positive amount is spend, a negative one a credit. `hour_ms` is
    when it was consumed. `late_since_ms` is the watermark before which the source had
    delivered everything; None means that it is not late. `scope` is set on what settles a
    scope's bill. `history` keeps it out of the counters: it is in gauges and answers only.
    """

    posting_id: str
    hour_ms: int
    kind: str
    labels: Labels
    nano: int
    late_since_ms: int | None = None
    scope: str = ""
    history: bool = False


#: Labels that a budget may name. `user_id` is none of `Labels`: users are in no cell, so a
#: budget that names one counts what its calls cost when they were metered.
BUDGET_LABELS: tuple[str, ...] = (
    "tenant_id",
    "team",
    "project",
    "service",
    "feature",
    "provider",
    "model",
    "category",
    "environment",
    "user_id",
)
BUDGET_PERIODS: tuple[str, ...] = ("hour", "day", "week", "month", "quarter", "year", "custom")


class Cut(NamedTuple):
    """How a budget's time is cut into periods; budgets that share it renew together.

    `week_starts` counts from Monday = 0. `start` and `end` are days (2026-01-31, `end` is
    the first one after it) of a custom period. It repeats "never", by its own "length" in
    days or every "year". Another period that repeats "never" is the one that holds `start`.
    """

    period: str = "month"
    timezone: str = "UTC"
    week_starts: int = 0
    start: str = ""
    end: str = ""
    repeats: str = ""


class Planned(NamedTuple):
    """Spend that is declared beforehand: no alarm about its rate, and in the projection.

    `at` is local time in the budget's zone, as 2026-12-01T02:00. The money is expected to
    be spent within `hours` from then. `repeats` is "", "day", "week", "month", "quarter" or
    "year"; a day that a month has not is the month's last.
    """

    name: str
    amount_nano: int
    at: str
    hours: int = 24
    repeats: str = ""


class Contact(NamedTuple):
    """Somebody who is told; `kind` is email, slack or other.

    `level` is the least level that they want to hear of: warning, critical or exceeded.
    `projections` says whether they want those too.
    """

    to: str
    kind: str = "other"
    level: str = "warning"
    projections: bool = True


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit for the spend that `match` names; without a match, for the whole ledger.

    `match` holds (label, exact value) pairs, all of which must hold. `limit_nano` and the
    planned amounts are billionths of a unit of `currency`. Thresholds are in thousandths of
    the limit. With `rollover` what a period leaves is added to the next one's limit, up to
    `rollover_nano` (None: up to the limit itself).
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
    week_starts: int = 0
    start: str = ""
    end: str = ""
    repeats: str = ""
    rollover: bool = False
    rollover_nano: int | None = None
    currency: str = "USD"
    planned: tuple[Planned, ...] = ()
    notify: tuple[Contact, ...] = ()

    @property
    def tenant_id(self) -> str:
        return dict(self.match).get("tenant_id", "")

    @property
    def cut(self) -> Cut:
        return Cut(self.period, self.timezone, self.week_starts, self.start, self.end, self.repeats)

    @property
    def series_labels(self) -> tuple[str, str, str]:
        """Values of the labels budget, period and tenant_id."""
        return (self.name, self.period, self.tenant_id)

    def covers(self, labels: Labels, user_id: str = "") -> bool:
        said = {**labels._asdict(), "user_id": user_id}
        return all(said[name] == value for name, value in self.match)


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
