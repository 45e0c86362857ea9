"""The catalogue through time: what the package carries, and newer ones from a day on.

A newer catalogue never rewrites what was priced: it holds from its own instant on. What an
earlier one could not price, a later one may; what a later one dropped, the earlier keeps.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from costmeter.pricing.catalogue import Catalogue, Model
from costmeter.pricing.errors import PriceFileError
from costmeter.pricing.lines import EVER_MS, NEVER_MS
from costmeter.pricing.rates import Figure

#: How the files of a folder of updates are called; the part between is the instant.
PREFIX, SUFFIX = "catalogue-", ".json"
_STAMP = "%Y%m%dT%H%M%SZ"


class Edition(Struct, frozen=True):
    """A catalogue and the instant from which it holds."""

    from_ms: int
    catalogue: Catalogue


class Listed(Struct, frozen=True):
    """What the catalogues say of a model at an instant, and for how long they say so.

    `own` is false where the provider resells it at another one's prices. `figures` is None
    where no price is known for that processing.
    """

    catalogue: Catalogue
    model: Model
    own: bool
    figures: Mapping[str, Figure] | None
    standard: Mapping[str, Figure] | None
    since: str
    from_ms: int
    until_ms: int


class Editions:
    """Every edition, the package's own first. Answers as a single catalogue would."""

    def __init__(self, own: Catalogue, updates: Sequence[Edition] = ()) -> None:
        self._all = (Edition(EVER_MS, own), *sorted(updates, key=lambda one: one.from_ms))
        newest = self._all[-1].catalogue
        self.source, self.as_of = newest.source, newest.as_of
        self.revision = own.revision
        if updates:
            told = [f"{one.from_ms} {one.catalogue.revision}" for one in self._all]
            self.revision = hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]

    @property
    def newest(self) -> Edition:
        return self._all[-1]

    def provider_id(self, name: str) -> str:
        """The id of a provider; an unknown one keeps its name, in lower case."""
        for edition in reversed(self._all):
            found = edition.catalogue.provider(name)
            if found is not None:
                return found.id
        return name.strip().lower()

    def find(self, provider: str, model: str) -> tuple[Model, bool] | None:
        """The model as the newest edition that knows it describes it."""
        for edition in reversed(self._all):
            if (found := edition.catalogue.find(provider, model)) is not None:
                return found
        return None

    def models(self) -> Iterator[tuple[str, str]]:
        """(provider, model) of everything that any edition lists, each once."""
        listed = (pair for one in reversed(self._all) for pair in one.catalogue.models())
        return iter(dict.fromkeys(listed))

    def listed(self, provider: str, model: str, at_ms: int, processing: str) -> Listed | None:
        """The figures at an instant: of the edition in force, else of a later one, else of
        an earlier one; None for a model that none of them knows."""
        place = max(n for n, one in enumerate(self._all) if one.from_ms <= at_ms)
        after = self._all[place + 1].from_ms if place + 1 < len(self._all) else NEVER_MS
        first: Listed | None = None
        from_ms, until_ms = self._all[place].from_ms, after
        order = (*self._all[place:], *reversed(self._all[:place]))
        for edition in order:
            found = edition.catalogue.find(provider, model)
            if found is None:
                continue
            listed = _listed(edition.catalogue, *found, at_ms, processing)
            if listed.since == "start" and edition is self._all[place] and place:
                listed = replace(listed, since=_day(edition.from_ms))
            # Until one of those that were asked changes its mind the answer is the same.
            from_ms, until_ms = max(from_ms, listed.from_ms), min(until_ms, listed.until_ms)
            first = first or listed
            if listed.figures is not None:
                first = listed
                break
        if first is None:
            return None
        return replace(first, from_ms=from_ms, until_ms=until_ms)


def _listed(catalogue: Catalogue, model: Model, own: bool, at_ms: int, processing: str) -> Listed:
    standard = window = model.window(at_ms, "standard")
    if own and processing != "standard":
        window = model.window(at_ms, processing)
    return Listed(
        catalogue,
        model,
        own,
        window.figures if own or processing == "standard" else None,
        standard.figures,
        window.since,
        max(window.from_ms, standard.from_ms),
        min(window.until_ms, standard.until_ms),
    )


def read_updates(folder: Path) -> list[Edition]:
    """The editions that lie in a folder; none when there is no such folder.

    Raises PriceFileError for a file that is not what `costmeter prices update` writes.
    """
    if not folder.is_dir():
        return []
    return [read_edition(path) for path in sorted(folder.glob(f"{PREFIX}*{SUFFIX}"))]


def read_edition(path: Path) -> Edition:
    """One file of a folder of updates. Raises PriceFileError."""
    stamp = path.name.removeprefix(PREFIX).removesuffix(SUFFIX)
    try:
        at = datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC)
        return Edition(int(at.timestamp()) * 1_000, Catalogue(path.read_bytes()))
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        raise PriceFileError(
            str(path), 1, "file",
            f"is no catalogue of 'costmeter prices update' ({error}); remove it, and update again",
        ) from None  # fmt: skip


def _day(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).date().isoformat()


def file_name(from_ms: int) -> str:
    """What the edition that holds from this instant on is called."""
    stamp = datetime.fromtimestamp(from_ms // 1_000, UTC).strftime(_STAMP)
    return f"{PREFIX}{stamp}{SUFFIX}"
