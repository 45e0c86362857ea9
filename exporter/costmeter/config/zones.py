"""Time zones by IANA name, and how their offsets fit into the cells of a ledger."""

from __future__ import annotations

import datetime as dt
import difflib
import re
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+-]{0,30}(/[A-Za-z0-9_+-]{1,30}){0,2}")
#: What the machine or a database build happens to mean, not a place's own rules.
_NOT_A_PLACE = frozenset({"localtime", "posixrules", "Factory"})
#: Offsets are looked at from here on: zones that left a half hour before do not count.
_FIRST_YEAR, _LAST_YEAR = 2020, 2037


@lru_cache(maxsize=256)
def is_zone(name: str) -> bool:
    """True for a name of the IANA database that stands for one set of rules."""
    if not _NAME.fullmatch(name) or name in _NOT_A_PLACE:
        return False
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True


@lru_cache(maxsize=1)
def _names_by_word() -> dict[str, str]:
    """Names by themselves and by their city; reads the whole database, on a mistake only."""
    names = sorted(available_timezones() - _NOT_A_PLACE)
    cities = {name.rpartition("/")[2].lower(): name for name in names if "/" in name}
    return cities | {name.lower(): name for name in names}


@lru_cache(maxsize=256)
def nearest_zone(text: str) -> str:
    """The known name that `text` may mean ("europe/berlin", "Kolkata"), or nothing."""
    words = _names_by_word()
    word = text[:64].lower().replace(" ", "_")
    near = difflib.get_close_matches(word, words, n=1, cutoff=0.75)
    return words[near[0]] if near else ""


@lru_cache(maxsize=256)
def fits_cells(name: str, cell_minutes: int) -> bool:
    """True when every midnight of the zone is also a boundary of the ledger's UTC cells."""
    zone, cell = ZoneInfo(name), dt.timedelta(minutes=cell_minutes)
    return all(
        not (dt.datetime(year, month, 1, 12, tzinfo=zone).utcoffset() or dt.timedelta()) % cell
        for year in range(_FIRST_YEAR, _LAST_YEAR + 1)
        for month in range(1, 13)
    )
