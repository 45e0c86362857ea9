"""One question to one GPU: an answer, or None where there is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from costmeter.gpu.nvml_words import FOR_GOOD, LOST, SESSION_OVER, GpuLost, in_words, problem_of

_REFUSED = (False, None)


class Asker:
    """Asks about one GPU and remembers what it does not support, so that it is not asked again.

    `calls` counts them. `seconds` is what `timer` says was spent in them, for benchmarks:
    without a timer, as usual, nothing is measured.
    """

    timer: ClassVar[Callable[[], float] | None] = None

    def __init__(self, nvml: Any) -> None:
        self.nvml = nvml
        self.seconds = 0.0
        self.calls = 0
        self._error: type[Exception] = nvml.NVMLError
        self._refused: set[str] = set()

    def refused(self, key: str) -> bool:
        return key in self._refused

    def refuse(self, key: str) -> None:
        """Take the question as unsupported."""
        self._refused.add(key)

    def forget(self) -> None:
        """Ask everything again: the GPU changed its mode."""
        self._refused.clear()

    def ask(self, key: str, function: str, *args: Any, tolerate: int = 0, empty: int = -1) -> Any:
        """The answer, or None where this GPU, driver or user has none.

        `key` stands for the question; `tolerate` is a refusal that does not mean a loss,
        `empty` one that means an empty answer, (), as success without an answer does. Raises
        GpuLost or NvmlProblem.
        """
        return self._put(key, function, args, tolerate, empty)[1]

    def tell(self, key: str, function: str, *args: Any, tolerate: int = 0) -> bool:
        """Call a function that has no answer; whether it was done."""
        return self._put(key, function, args, tolerate, -1)[0]

    def _put(
        self, key: str, function: str, args: tuple[Any, ...], tolerate: int, empty: int
    ) -> tuple[bool, Any]:
        if key in self._refused:
            return _REFUSED
        question = getattr(self.nvml, function, None)
        if question is None:  # an older nvidia-ml-py
            self._refused.add(key)
            return _REFUSED
        timer = Asker.timer
        began = timer() if timer is not None else 0.0
        try:
            return True, question(*args)
        except self._error as error:
            code = int(error.value)  # type: ignore[attr-defined]
            if code in (0, empty):
                return True, ()
            if code in FOR_GOOD or (code == tolerate and code in LOST):
                self._refused.add(key)
            elif code in SESSION_OVER:
                raise problem_of(code, str(error)) from None
            elif code in LOST:
                raise GpuLost(in_words(code, str(error))) from None
            return _REFUSED
        finally:
            self.calls += 1
            if timer is not None:
                self.seconds += timer() - began
