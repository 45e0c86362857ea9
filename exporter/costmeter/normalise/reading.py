"""What every reader shares: the result, the error, and how one number is read."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

#: More than any single response can hold. At 600 USD per million tokens it is 6e14
#: nano-USD, so thousands of such records still fit into 64 bits.
MAX_COUNT = 1_000_000_000

#: About eleven days of audio; in milliseconds it is `MAX_COUNT`.
MAX_SECONDS = MAX_COUNT // 1_000

EMPTY: Mapping[str, Any] = MappingProxyType({})


class Normalised(NamedTuple):
    """Usage in disjoint classes, and what else the object said.

    `quantities` holds the classes of `model.QUANTITIES` that are not zero. `model`,
    `processing` and `response_id` are empty where the object does not say. `estimated`
    is True where the provider left out a split or its parts do not add up to its total.
    `also` is usage of other models that the same response carries (a model consulted by
    a server-side tool): it is not part of `quantities` and has a price of its own.
    """

    quantities: dict[str, int]
    model: str = ""
    processing: str = ""
    response_id: str = ""
    estimated: bool = False
    also: tuple[Normalised, ...] = ()


class UsageError(ValueError):
    """A usage object that cannot be read: which field, and what to write instead."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.field = field
        self.reason = reason

    def under(self, root: str) -> UsageError:
        """The same error seen from outside the object named `root`."""
        return UsageError(f"{root}.{self.field}" if self.field else root, self.reason)


def count(group: Mapping[str, Any], key: str, root: str = "") -> int:
    """The whole number under `key`; absent and null are 0."""
    value: Any = group.get(key)
    if value is None:
        return 0
    if type(value) is int and 0 <= value <= MAX_COUNT:
        return value
    raise not_a_count(path(root, key), value)


def duration_ms(group: Mapping[str, Any], key: str, root: str = "") -> int:
    """Seconds under `key`, whole or fractional, as milliseconds; absent and null are 0."""
    value = group.get(key)
    if value is None:
        return 0
    if type(value) in (int, float) and 0 <= value <= MAX_SECONDS:  # false for NaN too
        milliseconds: int = round(value * 1000)
        return milliseconds
    raise UsageError(
        path(root, key), f"{shown(value)} is no duration; write seconds as a number, 0 or more"
    )


def group(outer: Mapping[str, Any], key: str, root: str = "") -> Mapping[str, Any]:
    """The object under `key`; absent and null are an empty one."""
    value = outer.get(key)
    if value is None:
        return EMPTY
    if type(value) is dict or isinstance(value, Mapping):
        return value
    raise UsageError(
        path(root, key), f"{shown(value)} is no object; write the provider's object or leave it out"
    )


def rows(outer: Mapping[str, Any], key: str, root: str = "") -> list[Mapping[str, Any]]:
    """The list of objects under `key`; absent and null are an empty one."""
    value = outer.get(key)
    if value is None:
        return []
    if not isinstance(value, list | tuple):
        raise UsageError(path(root, key), f"{shown(value)} is no list; write a list of objects")
    for index, row in enumerate(value):
        if not isinstance(row, Mapping):
            raise UsageError(
                f"{path(root, key)}[{index}]", f"{shown(row)} is no object; write an object"
            )
    return list(value)


def text(outer: Mapping[str, Any], key: str) -> str:
    """The string under `key`; anything else is not said."""
    value = outer.get(key)
    return value if type(value) is str else ""


def within(field: str, part: int, whole_field: str, whole: int) -> UsageError:
    """The error for a part that is larger than what it is a part of."""
    return UsageError(
        field,
        f"{part} is more than the {whole} of {whole_field} that it is a part of; "
        "write the provider's usage object unchanged",
    )


def not_a_count(field: str, value: object) -> UsageError:
    """The error for anything that is not a whole number from 0 to `MAX_COUNT`."""
    if type(value) is int and value < 0:
        return UsageError(field, f"{shown(value)} is negative; write a whole number, 0 or more")
    if type(value) is int:
        return UsageError(field, f"is more than {MAX_COUNT}; write the count of one response")
    return UsageError(
        field, f"{shown(value)} is no count; write a whole number, 0 or more, without quotes"
    )


def shown(value: object) -> str:
    """A value as an error may show it: its kind, and the value itself where it is short."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, int):
        return str(value) if abs(value) <= MAX_COUNT else "a huge number"
    if isinstance(value, str):
        return f'the text "{value}"' if len(value) <= 20 and value.isprintable() else "a text"
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple):
        return "a list"
    return f"a {type(value).__name__}"


def path(root: str, key: str) -> str:
    return f"{root}.{key}" if root else key
