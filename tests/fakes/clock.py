"""A clock that moves only when a test says so."""


class FakeClock:
    def __init__(self, now_ms: int = 1_763_805_600_000) -> None:  # 2025-11-22T10:00:00Z
        self._now_ms = now_ms
        self._monotonic_ms = 1_000

    def now_ms(self) -> int:
        return self._now_ms

    def monotonic_ms(self) -> int:
        return self._monotonic_ms

    def advance(
        self, seconds: float = 0, *, minutes: float = 0, hours: float = 0, days: float = 0
    ) -> None:
        step = round(1000 * (seconds + 60 * (minutes + 60 * (hours + 24 * days))))
        self._now_ms += step
        self._monotonic_ms += step

    def step_wall(self, seconds: float) -> None:
        """What ntpdate, a suspended laptop or an operator's typing error does."""
        self._now_ms += round(1000 * seconds)
