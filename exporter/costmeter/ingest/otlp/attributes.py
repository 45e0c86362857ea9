"""Which attribute means what, in every generation of the conventions.

The table is data: a new name is one more word in a row. Of several attributes for one field
the first in the row counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

from costmeter.ingest.event import MAX_QUANTITY, MAX_TEXT
from costmeter.ingest.otlp.reading import OWNER_ATTRIBUTES
from costmeter.ingest.otlp.tokens import BY_MODALITY, MODAL
from costmeter.ingest.otlp.wire import Broken, again, any_value, fields
from costmeter.ingest.owner import is_control
from costmeter.ingest.refusal import Refused
from costmeter.normalise.reading import shown

#: Texts that say what kind of call it was.
_TEXTS: Mapping[str, tuple[str, ...]] = {
    "provider": ("gen_ai.provider.name", "gen_ai.system", "llm.vendor"),
    "operation": ("gen_ai.operation.name",),
    "response_model": ("gen_ai.response.model", "llm.response.model"),
    "request_model": ("gen_ai.request.model", "llm.request.model"),
    "response_id": ("gen_ai.response.id",),
    "error": ("error.type",),
    "address": ("server.address",),
    "tier": (
        "openai.response.service_tier",
        "gen_ai.openai.response.service_tier",
        "openai.request.service_tier",
        "gen_ai.openai.request.service_tier",
    ),
    "token_type": ("gen_ai.token.type",),
    "request_type": ("llm.request.type",),
    "agent_kind": ("traceloop.span.kind", "gen_ai.agent.name", "gen_ai.agent.id"),
}
#: Token counts, as `tokens.classes` calls them.
_COUNTS: Mapping[str, tuple[str, ...]] = {
    "input": (
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.prompt_tokens",
        "llm.usage.prompt_tokens",
    ),
    "output": (
        "gen_ai.usage.output_tokens",
        "gen_ai.usage.completion_tokens",
        "llm.usage.completion_tokens",
    ),
    "total": ("gen_ai.usage.total_tokens", "llm.usage.total_tokens"),
    "cache_read": (
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.cache_read_input_tokens",
        "gen_ai.usage.input_cached_tokens",
        "gen_ai.usage.cached_input_tokens",
        "llm.usage.cache_read_input_tokens",
    ),
    "cache_write": (
        "gen_ai.usage.cache_write.input_tokens",
        "gen_ai.usage.cache_creation.input_tokens",
        "gen_ai.usage.cache_creation_input_tokens",
        "gen_ai.usage.cache_write_input_tokens",
        "llm.usage.cache_creation_input_tokens",
    ),
    "reasoning": (
        "gen_ai.usage.reasoning.output_tokens",
        "gen_ai.usage.reasoning_tokens",
        "gen_ai.usage.reasoning_output_tokens",
        "llm.usage.reasoning_tokens",
    ),
    "input_audio": ("gen_ai.usage.audio.input_tokens",),
    "input_image": ("gen_ai.usage.image.input_tokens",),
    "cache_read_audio": ("gen_ai.usage.audio.cache_read.input_tokens",),
    "cache_read_image": ("gen_ai.usage.image.cache_read.input_tokens",),
    "output_audio": ("gen_ai.usage.audio.output_tokens",),
    "output_image": ("gen_ai.usage.image.output_tokens",),
}
#: Under this key stands why an attribute that matters cannot be read.
BAD: Final = "bad"
_IGNORED: Final = (None, None)
#: Every call has another value: remembering them would push out what repeats.
_UNIQUE = frozenset({"response_id"})
#: Texts that are kept with the event as they are; those of labels are checked as labels.
_SHOWN = ("response_id", "user_id", "session_id")
#: Attributes remembered whole, with key and value; on overflow all are forgotten. One takes
#: under 500 bytes, so this stays under 5 MB.
_REMEMBERED = 8_192
_SHORT_BYTES = 160
_LONGEST_TEXT_BYTES = 20 * MAX_TEXT


@dataclass(frozen=True, slots=True)
class Mapped:
    """Attribute names and the fields they stand for.

    `primary` maps the names that alone decide a field; every other name maps in `others` to
    all (field, rank) that it may stand for.
    """

    primary: Mapping[str, str]
    others: Mapping[str, tuple[tuple[str, int], ...]] = field(default_factory=dict)


def mapped(owners: Mapping[str, Iterable[str]]) -> Mapped:
    """The table for these attributes of the owner, by field."""
    rows = {**_TEXTS, **_COUNTS, **{name: tuple(found) for name, found in owners.items()}}
    meanings: dict[str, list[tuple[str, int]]] = {}
    for name, attributes in rows.items():
        for rank, attribute in enumerate(attributes):
            meanings.setdefault(attribute, []).append((name, rank))
    primary = {
        attribute: found[0][0]
        for attribute, found in meanings.items()
        if len(found) == 1 and found[0][1] == 0 and found[0][0] not in MODAL
    }
    others = {a: tuple(found) for a, found in meanings.items() if a not in primary}
    return Mapped(primary, others)


class Attributes(dict[bytes, tuple[Any, Any]]):
    """Looks up an encoded KeyValue: (field, value), or (None, None) when nobody needs it.

    A span's attributes are then `dict(map(attributes.__getitem__, encoded))`, which stays in C
    for what was seen before; most attributes repeat from call to call. Values of fields with
    several names stand under the attribute's own name with a blank before it, until `settled`.
    Safe to use from several threads: at worst something is read twice.
    """

    def __init__(self, owners: Mapping[str, Sequence[str]] = OWNER_ATTRIBUTES) -> None:
        super().__init__()
        table = mapped(owners)
        self._fields = dict(table.primary)
        self._fields.update({name: f" {name}" for name in table.others})
        self._encoded = {name.encode(): name for name in self._fields}
        self._others = {f" {name}": found for name, found in table.others.items()}
        #: With one of these keys among what was found, it is to be `settled`.
        self.special = frozenset((*self._others, BAD))
        #: False until the first such attribute is met, so that nobody need look before.
        self.met_special = False
        self._shown = frozenset(
            name for field in _SHOWN for name in (*_TEXTS.get(field, ()), *owners.get(field, ()))
        )
        self._counts = frozenset(
            name for name in self._fields if any(name in names for names in _COUNTS.values())
        )

    def __missing__(self, encoded: bytes) -> tuple[Any, Any]:
        found = self._plain(encoded) or self._thorough(encoded)
        if found[0] in self.special:
            self.met_special = True
        if found[0] not in _UNIQUE and len(encoded) <= _SHORT_BYTES:
            if len(self) >= _REMEMBERED:
                self.clear()
            self[encoded] = found
        return found

    def _plain(self, encoded: bytes) -> tuple[Any, Any] | None:
        """The form that every encoder writes: key, then a text or a small number.

        None where there may be more to it.
        """
        try:
            size = encoded[1]
            value = size + 4
            if size > 0x7F or encoded[0] != 0x0A or encoded[size + 2] != 0x12:
                return None
            name = self._encoded.get(encoded[2 : size + 2])
            if name is None:
                return _IGNORED
            size = len(encoded) - value
            if size > 0x7F or encoded[value - 1] != size:
                return None
            if encoded[value] == 0x0A:
                if encoded[value + 1] == size - 2 and name not in self._counts:
                    text = encoded[value + 2 :].decode()
                    if name not in self._shown or text.isprintable():
                        return self._fields[name], text
            elif encoded[value] == 0x18 and name in self._counts:
                if size == 2 and encoded[-1] < 0x80:
                    return self._fields[name], encoded[-1]
                if size == 3 and encoded[-1] < 0x80 <= encoded[-2]:
                    return self._fields[name], encoded[-2] & 0x7F | encoded[-1] << 7
        except (IndexError, UnicodeDecodeError):
            pass
        return None

    def _thorough(self, encoded: bytes) -> tuple[Any, Any]:
        try:
            members = dict(fields(encoded))
            key, inner = members.get(1, b""), members.get(2, b"")
            name = self._encoded.get(key) if isinstance(key, bytes) else None
            if name is None:
                return _IGNORED
            if not isinstance(inner, bytes):
                return BAD, Refused(name, "the value is no message", code="unreadable")
            if len(inner) > _LONGEST_TEXT_BYTES:
                return BAD, _too_long(name)
            return self.value(name, any_value(inner))
        except UnicodeDecodeError:
            return BAD, Refused(name or "", "the text is not UTF-8", code="unreadable")
        except Broken as broken:
            return BAD, Refused("attributes", f"not readable: {broken}", code="unreadable")

    def named(self, name: str) -> bool:
        """Whether an attribute of this name is needed at all."""
        return name in self._fields

    def value(self, name: str, value: object) -> tuple[Any, Any]:
        """The field and the checked value of a needed attribute; no value is no attribute."""
        if value is None:
            return _IGNORED
        if name in self._counts:
            number = _count(value)
            if number is None:
                said = f"{shown(value)} is no count; a whole number from 0 to {MAX_QUANTITY}"
                return BAD, Refused(name, f"{said} is needed", code="usage")
            return self._fields[name], number
        if isinstance(value, str):
            if len(value) > MAX_TEXT:
                if self._fields[name] != "response_id":
                    return BAD, _too_long(name)
                # Gateways pack whole routes into their ids; the SDK shortens them alike.
                value = "sha256:" + sha256(value.encode()).hexdigest()
            if name in self._shown and any(is_control(letter) for letter in value):
                return BAD, Refused(name, "control characters are not allowed")
            return self._fields[name], value
        if isinstance(value, bool):
            return self._fields[name], "true" if value else "false"
        if isinstance(value, int | float):
            return self._fields[name], str(value)
        return BAD, Refused(name, "expected a text; lists and mappings are not read")

    def settled(self, found: dict[Any, Any]) -> dict[Any, Any]:
        """The same fields with one value each, where several attributes may give it.

        Raises Refused for an attribute that matters and cannot be read.
        """
        if BAD in found:
            raise again(found[BAD])
        ranked: dict[str, tuple[int, Any]] = {}
        for name in self.special.intersection(found):
            value = found.pop(name)
            for meaning, rank in self._others[name]:
                if meaning not in ranked or rank < ranked[meaning][0]:
                    ranked[meaning] = (rank, value)
        for meaning, (_, value) in ranked.items():
            found.setdefault(meaning, value)
            if meaning in MODAL:
                found[BY_MODALITY] = True
        return found


def _count(value: object) -> int | None:
    """A token count; some instrumentations write whole numbers as floats."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is int and 0 <= value <= MAX_QUANTITY:
        return value
    return None


def _too_long(name: str) -> Refused:
    return Refused(name, f"expected a text of at most {MAX_TEXT} characters")
