"""What is wrong with a configuration, for the person who has to put it right."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

#: How a value is named that an error must not quote.
HIDDEN = "the value (not shown)"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value was written: a file with its line, a variable or a flag.

    Relative file names that are written there are meant from `folder`.
    """

    where: str
    line: int | None = None
    folder: Path = Path()

    def seen_from(self, other: Place) -> str:
        """This place in a sentence about a mistake at `other`."""
        return f"line {self.line}" if self.where == other.where else f"{self.where}:{self.line}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: where it is, which setting it is in, what to write instead."""

    where: str
    line: int | None
    key: str
    text: str

    def __str__(self) -> str:
        place = self.where if self.line is None else f"{self.where}:{self.line}"
        return ": ".join(part for part in (place, self.key, self.text) if part)


class ConfigError(Exception):
    """A configuration that cannot be used; `problems` holds every mistake in it."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class Wrong(Exception):
    """A value that its setting does not take; the text says what to write instead."""


class Reading:
    """What came to light while a configuration was read.

    A `secret` document is never quoted: neither its values nor its unknown keys.
    """

    def __init__(self, *, secret: bool = False) -> None:
        self.secret = secret
        self.places: dict[str, Place] = {}
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self._told: set[tuple[str, int | None, str]] = set()

    def wrong(self, place: Place, key: str, text: str) -> None:
        """Note a mistake. Of several in one setting only the first is worth reading."""
        where = (place.where, place.line, key)
        if where not in self._told or not key:
            self._told.add(where)
            self.problems.append(Problem(*where, text))

    def wrong_setting(self, key: str, text: str) -> None:
        """Note a mistake in a setting that was read before, wherever it was written."""
        self.wrong(self.place_of(key), key, text)

    def warn(self, key: str, text: str) -> None:
        place = self.place_of(key)
        self.warnings.append(Problem(place.where, place.line, key, text))

    def place_of(self, key: str) -> Place:
        """Where `key` was written, or else the closest thing around it that was."""
        while key not in self.places and key:
            cut = max(key.rfind("."), key.rfind("["))
            key = key[: max(cut, 0)]
        return self.places.get(key, Place("built-in default"))

    def show(self, text: str) -> str:
        """A value as an error may quote it."""
        if self.secret:
            return HIDDEN
        return repr(text if len(text) <= 60 else text[:57] + "...")

    def raise_problems(self) -> None:
        """Raise ConfigError with what was noted: source by source, line by line."""
        if self.problems:
            sources = list(dict.fromkeys(problem.where for problem in self.problems))
            order = {source: number for number, source in enumerate(sources)}
            raise ConfigError(sorted(self.problems, key=lambda p: (order[p.where], p.line or 0)))


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """A sentence that names the nearest known word, or nothing when none is near."""
    import difflib  # late: only a mistake needs it

    by_lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word[:100].lower(), by_lower, n=1, cutoff=0.6)
    return f" Did you mean '{by_lower[near[0]]}'?" if near else ""
