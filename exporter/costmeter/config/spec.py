"""Settings are fields of a record that carry their own description.

A field is annotated with one `Setting`; reading, the environment and the reference all
come from it, so a setting is written down once.

A record is a frozen dataclass where the agent reads it, and elsewhere a frozen msgspec struct,
which costs a hundredth of the time to define.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar, get_type_hints

from costmeter.config.kinds import Kind

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Setting:
    """One described field.

    `key` is what stands in the file, where it is not the attribute's own name; `flag`
    is the command line's word. `name` and `default` are taken from the field itself.
    """

    kind: Kind[Any]
    about: str
    unit: str = ""
    required: bool = False
    flag: str = ""
    key: str = ""
    name: str = ""
    default: Any = None

    def show_default(self) -> str:
        return self.kind.show(self.default)


_KNOWN: dict[object, Mapping[str, Setting]] = {}


def settings_of(record: type[Any]) -> Mapping[str, Setting]:
    """The settings of a record by key, in the order of its fields."""
    if record not in _KNOWN:
        _KNOWN[record] = {setting.key: setting for setting in _described(record)}
    return _KNOWN[record]


def _described(record: type[Any]) -> list[Setting]:
    hints = get_type_hints(record, include_extras=True)
    found = []
    for name, default in _defaults(record).items():
        notes = getattr(hints[name], "__metadata__", ())
        found += [replace(n, key=n.key or name, name=name, default=default) for n in notes]
    return found


def _defaults(record: type[Any]) -> Mapping[str, Any]:
    """The default of each field, which is MISSING where there is none."""
    if is_dataclass(record):
        return {
            item.name: item.default if item.default_factory is MISSING else item.default_factory()
            for item in fields(record)
        }
    names, given = record.__struct_fields__, record.__struct_defaults__
    none = [MISSING] * (len(names) - len(given))
    made = [one.factory() if hasattr(one, "factory") else one for one in given]
    return dict(zip(names, none + made, strict=True))


def names_of(record: type[Any]) -> tuple[str, ...]:
    """The names of a record's fields in their order."""
    return tuple(record.__match_args__)


def changed(record: R, **values: Any) -> R:
    """A copy of a record with some fields replaced."""
    kept = {name: getattr(record, name) for name in names_of(type(record))}
    return type(record)(**{**kept, **values})
