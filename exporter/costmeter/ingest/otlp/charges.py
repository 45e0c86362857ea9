"""Who is charged for a call, and for which model: remembered by what decides it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from costmeter.ingest.otlp.calls import (
    CALL_FIELDS,
    model_of,
    operation_of,
    processing_of,
    provider_of,
)
from costmeter.ingest.otlp.wire import again
from costmeter.ingest.owner import RAW_FIELDS, REMEMBERED, Caller, Owners
from costmeter.ingest.refusal import Refused
from costmeter.model import Labels


class Charge(NamedTuple):
    labels: Labels
    processing: str


class Group:
    """Calls of one sender under one resource."""

    def __init__(
        self, charges: Charges, caller: Caller, resource: Mapping[Any, Any] | Refused
    ) -> None:
        self.caller = caller
        self._charges = charges
        self._fields = charges.fields
        self._known: dict[tuple[str | None, ...], Charge] = {}
        self._wrong = resource if isinstance(resource, Refused) else None
        self._resource = {} if isinstance(resource, Refused) else resource
        self.user_id: str = self._resource.get("user_id", "")
        self.session_id: str = self._resource.get("session_id", "")

    def charge(self, said: Mapping[Any, Any]) -> Charge:
        """For what a call says; raises Refused."""
        key = tuple(map(said.get, self._fields))
        return self._known.get(key) or self._find(key, said)

    def _find(self, key: tuple[str | None, ...], said: Mapping[Any, Any]) -> Charge:
        if self._wrong is not None:
            raise again(self._wrong)
        whole = {**self._resource, **said}
        raw = {
            **whole,
            "provider": provider_of(whole),
            "model": model_of(whole),
            "operation": operation_of(whole),
        }
        labels = self._charges.owners.labels(self.caller.tenant_id, tuple(map(raw.get, RAW_FIELDS)))
        self._charges.count()
        found = self._known[key] = Charge(labels, processing_of(whole))
        return found


class Charges:
    """The groups met lately, so that a later body of the same sender finds its own again."""

    def __init__(self, owners: Mapping[str, Iterable[str]]) -> None:
        self.owners = Owners()
        #: What of a call decides its charge.
        self.fields = (
            *CALL_FIELDS,
            *(name for name, found in owners.items() if name in RAW_FIELDS and list(found)),
        )
        self._groups: dict[tuple[Caller, frozenset[Any]], Group] = {}
        self._remembered = 0

    def group(self, caller: Caller, resource: dict[Any, Any] | Refused) -> Group:
        if isinstance(resource, Refused):
            return Group(self, caller, resource)
        key = (caller, frozenset(resource.items()))
        group = self._groups.get(key)
        if group is None:
            self.count()
            group = self._groups[key] = Group(self, caller, resource)
        return group

    def count(self) -> None:
        """One more is remembered; on overflow all are forgotten."""
        self._remembered += 1
        if self._remembered > REMEMBERED:
            self._groups.clear()
            self._remembered = 0
