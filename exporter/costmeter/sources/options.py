"""A kind's own options, read from `key=value` texts; every one has to be known."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping


class Options:
    """Take each option by name, then call `finish`; raises ValueError with what to write."""

    def __init__(self, options: Mapping[str, str]) -> None:
        self._options = options
        self._known: list[str] = []

    def switch(self, name: str, *, default: bool) -> bool:
        said = self._take(name, "true" if default else "false").lower()
        if said not in ("true", "false"):
            raise ValueError(f"option {name}={said} is neither true nor false")
        return said == "true"

    def whole(self, name: str, default: int, most: int = 1_000) -> int:
        said = self._take(name, str(default))
        if not said.isdecimal() or int(said) > most:
            raise ValueError(f"option {name}={said} is no whole number up to {most}")
        return int(said)

    def word(self, name: str, default: str, allowed: Iterable[str] | None = None) -> str:
        said = self._take(name, default)
        if allowed is not None and said not in allowed:
            raise ValueError(f"option {name}={said} is none of {', '.join(allowed)}")
        return said

    def several(self, name: str, default: Iterable[str], allowed: Iterable[str]) -> tuple[str, ...]:
        """Words with '+' between them, or `none`."""
        said = self._take(name, "+".join(default))
        words = () if said in ("", "none") else tuple(dict.fromkeys(said.split("+")))
        wrong = [word for word in words if word not in allowed]
        if wrong:
            raise ValueError(f"option {name} names {wrong[0]!r}; write some of {'+'.join(allowed)}")
        return words

    def pattern(self, name: str, default: str) -> re.Pattern[str]:
        said = self._take(name, default)
        try:
            return re.compile(said)
        except re.error as error:
            raise ValueError(f"option {name} is no regular expression: {error}") from None

    def finish(self, kind: str) -> None:
        """Raise for an option that nobody took."""
        unknown = sorted(self._options.keys() - set(self._known))
        if unknown:
            known = ", ".join(self._known) or "none"
            raise ValueError(
                f"a source of kind {kind} has no option {unknown[0]!r}; known: {known}"
            )

    def _take(self, name: str, default: str) -> str:
        self._known.append(name)
        return self._options.get(name, default)
