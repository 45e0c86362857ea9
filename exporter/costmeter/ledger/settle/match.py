"""Which lines of a bill belong to which meters: at the finest keys both sides have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from costmeter.model import Labels


class Meter(NamedTuple):
    """What was metered under one label tuple on a scope's day.

    `nano` is the priced amount. `tokens`, `pieces` (of everything else that is counted)
    and `requests` are what an amount is spread by where nothing has a price; `unpriced`
    says that some of it still waits for one.
    """

    labels: Labels
    nano: int
    tokens: int = 0
    pieces: int = 0
    requests: int = 0
    unpriced: bool = False


class Charge(NamedTuple):
    """One line of a bill, in USD, as it stands."""

    line: str
    charge: str
    labels: Labels
    nano: int


class Group(NamedTuple):
    """Lines with the meters that they pay for; `keys` are those that they agree in.

    Without meters nobody is known who used what the lines name.
    """

    keys: tuple[str, ...]
    charges: tuple[Charge, ...]
    meters: tuple[Meter, ...]


class Matched(NamedTuple):
    groups: tuple[Group, ...]
    unbilled: tuple[Meter, ...]
    """Meters that no line of the bill speaks of."""


R = TypeVar("R", Charge, Meter)
Key = tuple[str, ...]


def match(charges: Sequence[Charge], meters: Sequence[Meter], match_keys: Sequence[str]) -> Matched:
    """Join at all keys that both sides say, then without the finest, and so on.

    A key counts where a line and a meter each have a value for it. A record without a
    value takes the only one that the other side has. Different values of the coarsest
    configured key (the account) never match.
    """
    keys = tuple(key for key in match_keys if _said(charges, key) and _said(meters, key))
    left = _keyed(charges, keys, meters)
    right = _keyed(meters, keys, charges)
    groups: list[Group] = []
    for length in range(len(keys), 0, -1):
        lines, used = _by_prefix(left, length), _by_prefix(right, length)
        # Two empty ones agree in nothing: they wait for a coarser look.
        agreed = {value for value in lines.keys() & used.keys() if value[-1]}
        groups += [
            Group(keys[:length], tuple(lines[value]), tuple(used[value]))
            for value in sorted(agreed)
        ]
        left = [item for item in left if item[0][:length] not in agreed]
        right = [item for item in right if item[0][:length] not in agreed]
    rest, left, right = _rest(left, right, firm=bool(keys) and keys[0] == match_keys[0])
    groups += rest
    groups += [Group((), (charge,), ()) for _, charge in left]
    return Matched(tuple(groups), tuple(meter for _, meter in right))


Left = list[tuple[Key, Charge]]
Right = list[tuple[Key, Meter]]


def _rest(left: Left, right: Right, *, firm: bool) -> tuple[list[Group], Left, Right]:
    """Join what is left of the day; with a firm key only what is silent about it."""
    lines, used = left, right
    still_left: Left = []
    still_right: Right = []
    if firm:
        lines, still_left = [i for i in left if not i[0][0]], [i for i in left if i[0][0]]
        if not lines:
            lines, still_left = left, []
            used, still_right = [i for i in right if not i[0][0]], [i for i in right if i[0][0]]
    if not lines or not used:
        return [], left, right
    group = Group((), tuple(line for _, line in lines), tuple(meter for _, meter in used))
    return [group], still_left, still_right


def _said(records: Sequence[R], key: str) -> set[str]:
    return {value for record in records if (value := getattr(record.labels, key))}


def _keyed(
    records: Sequence[R], keys: tuple[str, ...], others: Sequence[Charge] | Sequence[Meter]
) -> list[tuple[Key, R]]:
    """Each record with its key; in an order that does not depend on where it came from."""
    only: dict[str, str] = {}
    for key in keys:
        values = {value for other in others if (value := getattr(other.labels, key))}
        if len(values) == 1:
            only[key] = values.pop()
    return sorted(
        (tuple(getattr(record.labels, key) or only.get(key, "") for key in keys), record)
        for record in records
    )


def _by_prefix(records: Sequence[tuple[Key, R]], length: int) -> dict[Key, list[R]]:
    found: dict[Key, list[R]] = {}
    for key, record in records:
        found.setdefault(key[:length], []).append(record)
    return found
