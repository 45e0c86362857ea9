"""The rules that a ledger books by."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from costmeter.attribution import CATCH_ALL, Scope
from costmeter.ledger.admission import Limits
from costmeter.model import MS_PER_DAY

_RELEASE_STEP_MS = 900_000


class Terms(Struct, frozen=True):
    """Plain values, read from the configuration."""

    reporting_timezone: str = "UTC"
    extra_labels: tuple[str, ...] = ()
    birth_hold_ms: int = 300_000
    late_after_ms: int = 3_600_000
    max_release_ms: int = 14 * MS_PER_DAY
    promote_permille: int = 10
    limits: Limits = field(default_factory=Limits)
    admit: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    scopes: tuple[Scope, ...] = (CATCH_ALL,)

    def released_by(self, now_ms: int, at_ms: int, since_ms: int) -> int:
        """When an amount that is booked now is shown in full; 0 when it is not late.

        Linear over 2 x (now - `since_ms`), at most `max_release_ms`; `since_ms` is the
        usage's own time for a pushed record and the source's watermark for a polled one.
        """
        if now_ms - at_ms <= self.late_after_ms:
            return 0
        until = now_ms + min(2 * (now_ms - since_ms), self.max_release_ms)
        return until + -until % _RELEASE_STEP_MS
