"""What a source is: a name, how often it is asked, and a way to read a stretch of time.

A source knows no ledger. It yields pages, each of which is everything that the provider
reports of one stream within a stretch of time; comparing that with what was reported
before is the ledger's work. Third parties implement `Source` and name a `Factory` under
the entry-point group `costmeter.sources`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple, Protocol

from costmeter.clock import Clock
from costmeter.model import MS_PER_DAY, BillLine, Usage
from costmeter.sources.allowance import Allowance
from costmeter.sources.secret import Secret


class Window(NamedTuple):
    """A stretch of time [since, until) that is to be read now; both begin a UTC day."""

    since_ms: int
    until_ms: int
    now_ms: int

    @property
    def days(self) -> range:
        """Days since 1970 that it covers."""
        return range(self.since_ms // MS_PER_DAY, -(-self.until_ms // MS_PER_DAY))


class Forecast(NamedTuple):
    """What a provider itself expects to charge from now until `until_ms`.

    `figures` are (bound, nano-USD): mean, and lower_80, upper_80 and so on, the ends of
    the interval that holds the amount with that probability in percent.
    """

    until_ms: int
    figures: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Page:
    """All that `stream` reports within [since, until): what is not here is not there any more.

    The `event_id` of usage names its bucket and group and stays the same when the figures
    are restated; so does the `line` of a bill line. Their feed and revision are left to
    whoever books them. A page that covers no time says nothing. A `forecast` takes the
    place of the one before. `keep` is committed with the page and handed to the source at
    its next poll as `Desk.kept`; an empty one leaves what was kept.
    """

    stream: str
    since_ms: int
    until_ms: int
    usages: tuple[Usage, ...] = ()
    lines: tuple[BillLine, ...] = ()
    forecast: Forecast | None = None
    keep: str = ""

    @property
    def newest_ms(self) -> int | None:
        """When the newest bucket with data begins."""
        instants = [usage.at_ms for usage in self.usages]
        instants += [line.day * MS_PER_DAY for line in self.lines]
        return max(instants, default=None)


class SourceError(Exception):
    """A poll that failed. `reason` is one of `REASONS`; the text never holds a secret.

    `retry_after_ms` is how long the provider asked to be left alone, None when it did not.
    """

    def __init__(self, reason: str, text: str, retry_after_ms: int | None = None) -> None:
        super().__init__(text)
        self.reason = reason
        self.retry_after_ms = retry_after_ms


#: Why a poll failed; the values of the label `reason`.
REASONS: tuple[str, ...] = (
    "credentials",
    "request",
    "throttled",
    "server",
    "timeout",
    "network",
    "too_large",
    "malformed",
    "repeated_page",
    "budget",
    "ledger",
    "stopped",
    "other",
)


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How a source is asked.

    `restated_days` is how far back each poll reads again, because providers restate;
    `lookback_days` how far back the first poll reads; `step_days` how much is read before
    progress is written down.
    """

    every_seconds: int = 3_600
    restated_days: int = 4
    lookback_days: int = 30
    step_days: int = 7


class Desk(NamedTuple):
    """What a source works with: the time, its allowance, and a way to wait.

    `pause` waits so many seconds and is True when the process is stopping. `kept` is the
    `Page.keep` that was committed last.
    """

    clock: Clock
    allowance: Allowance
    pause: Callable[[float], bool]
    kept: str = ""


class Source(Protocol):
    """One account of one provider."""

    @property
    def name(self) -> str:
        """The feed of its usage and the source of its bill lines."""
        ...

    @property
    def rhythm(self) -> Rhythm: ...

    def fetch(self, window: Window, desk: Desk) -> Iterator[Page]:
        """Read a stretch of time; raises SourceError. Never touches what was read before."""
        ...


@dataclass(frozen=True, slots=True)
class OwnerRule:
    """Whose usage it is, by the provider's project or workspace, or its key. Globs."""

    project: str = "*"
    api_key: str = "*"
    tenant_id: str = ""
    environment: str = ""
    team: str = ""
    feature: str = ""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a factory makes a source of. `options` are the kind's own, checked by it."""

    name: str
    secret: Secret
    base_url: str = ""
    account: str = ""
    tenant_id: str = ""
    environment: str = ""
    owners: tuple[OwnerRule, ...] = ()
    timeout_seconds: float = 30
    options: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    rhythm: Rhythm | None = None
    """None leaves it to the kind."""


#: Makes a source, without any I/O. Raises ValueError with what to write instead.
Factory = Callable[[Settings], Source]
