"""Settings are dataclass fields that carry their own description.

A field is annotated with one `Setting`; reading, the environment and the reference all
come from it, so a setting is written down once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any, get_type_hints

from costmeter.config.kinds import Kind


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
    for item in fields(record):
        for note in getattr(hints[item.name], "__metadata__", ()):
            made = item.default_factory
            default = item.default if made is MISSING else made()
            found.append(replace(note, key=note.key or item.name, name=item.name, default=default))
    return found
