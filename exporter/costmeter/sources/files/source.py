"""A source whose bills are files: what changed is read, and its days are told anew.

Sums of each file are kept on disk. When a file changes, it alone is read again, and its
days, before and now, are made of the sums of all files. After a restart all of them are
read once, which changes nothing in the ledger.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import NamedTuple

from costmeter.model import MS_PER_DAY
from costmeter.sources.buckets import through_today
from costmeter.sources.contract import Desk, Page, Rhythm, Settings, SourceError, Window
from costmeter.sources.files.exports import Exports
from costmeter.sources.files.heap import Heap
from costmeter.sources.files.places import Found, Place, place_of
from costmeter.sources.files.reading import Read, read_file
from costmeter.sources.files.shapes import Whose
from costmeter.sources.gcp_bill import maturity
from costmeter.sources.options import Options
from costmeter.sources.tags import tag_keys

_log = logging.getLogger("costmeter.sources")

#: One window, so that a poll reads a file once. The ledger knows 60 days of what a source
#: said before: so far back what has gone from a bill is seen to have gone.
RHYTHM = Rhythm(every_seconds=3_600, restated_days=59, lookback_days=400, step_days=100_000)
FINAL_AFTER_DAYS = 5
_SHOWN = 5
STREAM = "files"


class _Kept(NamedTuple):
    """A file whose sums are in the heap under a number."""

    mark: str
    number: int
    days: frozenset[int]


class FileBill:
    def __init__(
        self, settings: Settings, kind: str, shapes: tuple[str, ...], *, exports: bool = False
    ) -> None:
        """Raises ValueError for settings that do not go together."""
        options = Options(settings.options)
        self.name = settings.name
        self.rhythm = settings.rhythm or RHYTHM
        # A window of days would have every file read again for each of them.
        if self.rhythm.step_days < RHYTHM.step_days:
            given = self.rhythm
            self.rhythm = Rhythm(
                given.every_seconds, given.restated_days, given.lookback_days, RHYTHM.step_days
            )
        self._shapes = shapes
        self._place: Place = Exports(settings, options) if exports else place_of(settings, options)
        self._whose = Whose(settings, tag_keys(options))
        self._strict = options.switch("strict", default=False)
        self._final_after_days = options.whole("final_after_days", FINAL_AFTER_DAYS)
        options.finish(kind)
        self._heap = Heap()
        self._kept: dict[str, _Kept] = {}
        self._numbers = 0
        #: How final each day was when the ledger last took it.
        self._told: dict[int, str] = {}

    def fetch(self, window: Window, desk: Desk) -> Iterator[Page]:
        self._read_changed(desk)
        since, until = window.since_ms // MS_PER_DAY, through_today(window) // MS_PER_DAY
        state = {
            day: maturity(day, window.now_ms, self._final_after_days) for day in range(since, until)
        }
        self._mention_left_out(since)
        billed = {day for kept in self._kept.values() for day in kept.days}
        # Days without a charge are told together, those with one a day at a time, so that
        # no transaction is long.
        begin = since
        for day in range(since, until):
            told = self._told.get(day) == state[day]
            if told or day in billed:
                if begin < day:
                    yield _page(begin, day)
                begin = day + 1
            if not told and day in billed:
                lines = self._heap.lines(day, state[day])
                yield Page(STREAM, day * MS_PER_DAY, (day + 1) * MS_PER_DAY, (), lines)
        if begin < until:
            yield _page(begin, until)
        # Whoever asks for more has kept what came before the newest page: with this one,
        # which says nothing, that is everything.
        yield _page(until, until)
        self._told.update(state)

    def _read_changed(self, desk: Desk) -> None:
        found = self._place.files(desk)
        for name in self._kept.keys() - {file.name for file in found}:
            _log.warning("source %s: %s is gone, and with it what it charged", self.name, name)
            self._forget(name)
        for file in found:
            kept = self._kept.get(file.name)
            if kept is None or kept.mark != file.mark:
                self._read(file, desk)

    def _read(self, file: Found, desk: Desk) -> None:
        self._numbers += 1
        number = self._numbers
        try:
            with self._place.open(file, desk) as path:
                read = read_file(
                    path,
                    file.name,
                    self._shapes,
                    self._whose,
                    lambda sums: self._heap.add(number, sums),
                )
            self._mention(file.name, read)
        except BaseException:
            self._heap.drop(number)
            raise
        self._forget(file.name)
        days = frozenset(self._heap.days(number))
        self._tell_again(days)
        self._kept[file.name] = _Kept(file.mark, number, days)

    def _forget(self, name: str) -> None:
        kept = self._kept.pop(name, None)
        if kept is not None:
            self._heap.drop(kept.number)
            self._tell_again(kept.days)

    def _tell_again(self, days: frozenset[int]) -> None:
        for day in days:
            self._told.pop(day, None)

    def _mention(self, name: str, read: Read) -> None:
        if not read.unreadable:
            return
        text = f"{read.unreadable} of {read.rows} rows of {name} cannot be read"
        if self._strict:
            raise SourceError("malformed", f"{text}; the first: {read.problems[0]}")
        _log.warning("source %s: %s; see: costmeter bills check", self.name, text)
        for problem in read.problems[:_SHOWN]:
            _log.warning("source %s: %s", self.name, problem)

    def _mention_left_out(self, since: int) -> None:
        """Older days than are asked for are in files all the time; new ones are worth a word."""
        older = {day for kept in self._kept.values() for day in kept.days if day < since}
        new = older - self._told.keys()
        if new:
            _log.warning(
                "source %s: charges of %d days before the %d days that are read are left out; "
                "lookback_days of a new source reaches further back",
                self.name, len(new), self.rhythm.lookback_days,
            )  # fmt: skip
            self._told.update(dict.fromkeys(new, "left out"))


def _page(begin: int, end: int) -> Page:
    return Page(STREAM, begin * MS_PER_DAY, end * MS_PER_DAY)


def focus(settings: Settings) -> FileBill:
    return FileBill(settings, "focus", ("focus",))


def cur(settings: Settings) -> FileBill:
    return FileBill(settings, "cur", ("cur",))


def azure_ea(settings: Settings) -> FileBill:
    return FileBill(settings, "azure_ea", ("azure_ea",))


def aws_data_exports(settings: Settings) -> FileBill:
    return FileBill(settings, "aws_data_exports", ("cur", "focus"), exports=True)
