"""Reports in buckets, page by page: OpenAI's and Anthropic's shape."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from costmeter.model import MS_PER_DAY, BillLine, Usage
from costmeter.sources.contract import Page, SourceError, Window
from costmeter.sources.reading import Row, malformed, rows

#: Reports catch up within minutes; an hour that has just ended is left for the next poll.
_SETTLING_MS = 600_000

Records = tuple[tuple[Usage, ...], tuple[BillLine, ...]]


class Bucket:
    """One bucket: where it begins and ends, and its rows."""

    __slots__ = ("end_ms", "rows", "start_ms")

    def __init__(self, start_ms: int, end_ms: int, found: Iterable[Row]) -> None:
        self.start_ms = start_ms
        self.end_ms = end_ms
        self.rows = tuple(found)


def closed_until(window: Window, width_ms: int) -> int:
    """The end of the last bucket that is complete by now."""
    settled = window.now_ms - _SETTLING_MS
    return min(window.until_ms, settled - settled % width_ms)


def through_today(window: Window) -> int:
    """The end of the day in which the window ends."""
    return window.until_ms + -window.until_ms % MS_PER_DAY


def pages_of(
    stream: str,
    since_ms: int,
    until_ms: int,
    answers: Iterable[Row],
    bounds: Callable[[Row], tuple[int, int]],
    read: Callable[[Bucket], None],
    take: Callable[[], Records],
) -> Iterator[Page]:
    """A page for each answer; together they cover [since, until) without gap or overlap.

    `read` takes in a bucket, `take` gives what was read since. Buckets come in the order of
    time: one that comes a second time would count twice and is an error.
    """
    if until_ms <= since_ms:
        return
    reached = since_ms
    answer: Row | None = None
    for following in answers:
        if answer is not None:
            latest = _read(answer, since_ms, until_ms, reached, bounds, read)
            yield Page(stream, reached, latest, *take())
            reached = latest
        answer = following
    if answer is not None:
        _read(answer, since_ms, until_ms, reached, bounds, read)
    # Only the last answer says that nothing comes behind it.
    yield Page(stream, reached, until_ms, *take())


def _read(
    answer: Row,
    since_ms: int,
    until_ms: int,
    reached: int,
    bounds: Callable[[Row], tuple[int, int]],
    read: Callable[[Bucket], None],
) -> int:
    for item in rows(answer, "data"):
        start_ms, end_ms = bounds(item)
        if end_ms <= start_ms:
            raise malformed("the bucket", "ends before it begins")
        if start_ms < reached:
            if start_ms < since_ms:
                raise malformed("the bucket", "begins before the time that was asked for")
            raise SourceError("repeated_page", "a bucket came twice")
        found = rows(item, "results", "result")
        if end_ms > until_ms:
            # What has not ended yet was not asked for; some answer with it all the same.
            if start_ms < until_ms:
                raise malformed("the bucket", "is wider than was asked for")
            continue
        reached = end_ms
        read(Bucket(start_ms, end_ms, found))
    return reached
