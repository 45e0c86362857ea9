"""How many calls a source may still make today, and how much they may cost."""

from __future__ import annotations

from typing import NamedTuple

from costmeter.model import MS_PER_DAY, NANO_PER_USD


class Spent(NamedTuple):
    """What was used on a UTC day; kept in the ledger, so that a restart forgets nothing."""

    day: int = 0
    calls: int = 0
    nano: int = 0


class AllowanceSpent(Exception):
    """Nothing more today. `wait_ms` is how long today lasts."""

    def __init__(self, text: str, wait_ms: int) -> None:
        super().__init__(text)
        self.wait_ms = wait_ms


class Allowance:
    """Counts one source's calls. A limit of None is none. Used by one thread at a time."""

    def __init__(
        self,
        calls_a_day: int | None = None,
        nano_a_day: int | None = None,
        spent: Spent | None = None,
    ) -> None:
        self._calls_a_day = calls_a_day
        self._nano_a_day = nano_a_day
        self.spent = spent or Spent()
        self.calls = 0
        """Calls since the process began, and below what they cost in nano-USD."""
        self.nano = 0

    def restore(self, spent: Spent) -> None:
        """Go on from what the ledger knows."""
        if spent.day >= self.spent.day and spent.calls >= self.spent.calls:
            self.spent = spent

    def take(self, now_ms: int, nano: int = 0) -> None:
        """Ask before each call, with what it costs; raises AllowanceSpent and counts nothing."""
        day = now_ms // MS_PER_DAY
        if day != self.spent.day:
            self.spent = Spent(day)
        _, calls, money = self.spent
        wait_ms = (day + 1) * MS_PER_DAY - now_ms
        if self._calls_a_day is not None and calls + 1 > self._calls_a_day:
            raise AllowanceSpent(
                f"all {self._calls_a_day} calls of today are made; raise calls_per_day, "
                "or ask less often",
                wait_ms,
            )
        if self._nano_a_day is not None and money + nano > self._nano_a_day:
            raise AllowanceSpent(
                f"{money / NANO_PER_USD:.2f} USD were spent on calls today, and one more would "
                "pass the limit; raise usd_per_day, or ask less often",
                wait_ms,
            )
        self.spent = Spent(day, calls + 1, money + nano)
        self.calls += 1
        self.nano += nano

    def used_ratio(self, now_ms: int) -> float | None:
        """The larger share of today's limits that is used; None without a limit."""
        today = self.spent if self.spent.day == now_ms // MS_PER_DAY else Spent()
        shares = [
            used / limit
            for used, limit in ((today.calls, self._calls_a_day), (today.nano, self._nano_a_day))
            if limit
        ]
        return max(shares, default=None)
