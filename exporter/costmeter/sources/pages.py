"""Following pages: to their end, and never in a circle."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b

from costmeter.sources.contract import SourceError
from costmeter.sources.reading import Row, malformed, text

#: A month of minutes has 31 pages of 1,440; whoever has more than this runs in a circle.
MOST_PAGES = 5_000
Query = Sequence[tuple[str, str]]


def follow(get: Callable[[Query], Row], query: Query, *, digest: bool = True) -> Iterator[Row]:
    """Every page of a list that says `has_more` and `next_page`; raises SourceError.

    A token that was given before, and with `digest` data that was given before, end it
    with an error: taken twice they would count twice.
    """
    tokens: set[str] = set()
    seen: set[bytes] = set()
    token = ""
    for _ in range(MOST_PAGES):
        page = get([*query, ("page", token)] if token else query)
        if digest:
            refuse_repeated(seen, page)
        yield page
        if not page.get("has_more"):
            return
        token = (
            text(page, "next_page")
            if len(str(page.get("next_page"))) <= 200
            else str(page["next_page"])
        )
        if not token:
            raise malformed("next_page", "missing, although has_more says that there is one")
        if token in tokens:
            raise SourceError("repeated_page", "a page names one as the next that was read before")
        tokens.add(token)
    raise SourceError("repeated_page", f"no end after {MOST_PAGES} pages")


def numbered(
    get: Callable[[Query], Row], query: Query, last: Callable[[Row, int], bool]
) -> Iterator[Row]:
    """Pages with a number, from 1 until `last(page, number)`."""
    seen: set[bytes] = set()
    for number in range(1, MOST_PAGES + 1):
        page = get([*query, ("page", str(number))])
        refuse_repeated(seen, page)
        yield page
        if last(page, number):
            return
    raise SourceError("repeated_page", f"no end after {MOST_PAGES} pages")


def refuse_repeated(seen: set[bytes], page: Row) -> None:
    """Raise for a page whose data was there before; a page without data may come again."""
    data = page.get("data", page.get("results"))
    if not data:
        return
    mark = blake2b(repr(data).encode(), digest_size=16).digest()
    if mark in seen:
        raise SourceError("repeated_page", "a page came twice with the same data")
    seen.add(mark)
