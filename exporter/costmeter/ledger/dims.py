"""Interning: label tuples, organizations and rates as small integers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from sqlite3 import Connection
from typing import NamedTuple

import msgspec

from costmeter.attribution import Scope, scope_of
from costmeter.model import Labels
from costmeter.pricing import Rate
from costmeter.pricing.rates import listing


class Dim(NamedTuple):
    dim: int
    org: int
    labels: Labels
    scope: Scope


_OBJECTS = 16_384
_LABEL_COLUMNS = ", ".join(Labels._fields)


class Dims:
    """Label tuples of this ledger. Used inside the write transaction only."""

    def __init__(self, connection: Connection, scopes: Sequence[Scope]) -> None:
        self._connection = connection
        self._scopes = tuple(scopes)
        self._by_labels: dict[Labels, Dim] = {}
        self._by_object: dict[int, tuple[Labels, Dim]] = {}
        self._by_number: dict[int, Dim] = {}
        self._orgs: dict[str, int] = {}

    def forget(self) -> None:
        """Drop what was cached, because its transaction was rolled back."""
        self._by_labels.clear()
        self._by_object.clear()
        self._by_number.clear()
        self._orgs.clear()

    def of(self, labels: Labels) -> Dim:
        """The dim of a label tuple, made when it is new.

        Readers hand out the same tuple again and again, so it is first looked for as an
        object: hashing thirteen strings costs more than all the rest.
        """
        seen = self._by_object.get(id(labels))
        if seen is not None:
            return seen[1]
        found = self._by_labels.get(labels)
        if found is None:
            found = self._intern(labels)
        if len(self._by_object) > _OBJECTS:
            self._by_object.clear()
        # The tuple is kept alive, so that no other one gets its id.
        self._by_object[id(labels)] = (labels, found)
        return found

    def numbered(self, dim: int) -> Dim:
        """The dim with that number, which must exist."""
        found = self._by_number.get(dim)
        if found is not None:
            return found
        row = self._connection.execute(
            f"SELECT org, scope, {_LABEL_COLUMNS} FROM dim WHERE dim = ?", (dim,)
        ).fetchone()
        made = Dim(dim, row[0], Labels(*row[2:]), self._scope_named(row[1], Labels(*row[2:])))
        self._by_number[dim] = made
        return made

    def _scope_named(self, name: str, labels: Labels) -> Scope:
        return next((s for s in self._scopes if s.name == name), scope_of(self._scopes, labels))

    def org(self, tenant_id: str) -> int:
        """The number of an organization, made when it is new."""
        found = self._orgs.get(tenant_id)
        if found is None:
            self._connection.execute(
                "INSERT INTO org (tenant_id) VALUES (?) ON CONFLICT DO NOTHING", (tenant_id,)
            )
            row = self._connection.execute(
                "SELECT org FROM org WHERE tenant_id = ?", (tenant_id,)
            ).fetchone()
            found = self._orgs[tenant_id] = int(row[0])
        return found

    def _intern(self, labels: Labels) -> Dim:
        scope = scope_of(self._scopes, labels)
        org = self.org(labels.tenant_id)
        marks = ", ".join("?" * (len(labels) + 2))
        self._connection.execute(
            f"INSERT INTO dim (org, scope, {_LABEL_COLUMNS}) VALUES ({marks}) "
            "ON CONFLICT DO NOTHING",
            (org, scope.name, *labels),
        )
        where = " AND ".join(f"{name} = ?" for name in Labels._fields)
        row = self._connection.execute(
            f"SELECT dim FROM dim WHERE {where} AND scope = ?", (*labels, scope.name)
        ).fetchone()
        made = Dim(int(row[0]), org, labels, scope)
        self._by_labels[labels] = self._by_number[made.dim] = made
        return made


class Rates:
    """Rates that were used, by number. Used inside the write transaction only."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._numbers: dict[str, int] = {}
        self._rates: dict[int, Rate] = {}

    def forget(self) -> None:
        self._numbers.clear()
        self._rates.clear()

    def number(self, rate: Rate, known_ms: int) -> int:
        found = self._numbers.get(rate.rate_id)
        if found is None:
            self._connection.execute(
                "INSERT INTO price (rate_id, source, prices, least, known_ms, listed) "
                "VALUES (?, ?, ?, ?, ?, ?) "
                "ON CONFLICT DO NOTHING",
                (
                    rate.rate_id,
                    rate.source,
                    _text(rate.prices),
                    _text(rate.least),
                    known_ms,
                    "" if rate.listed is None else _text(rate.listed.prices),
                ),
            )
            row = self._connection.execute(
                "SELECT rate FROM price WHERE rate_id = ?", (rate.rate_id,)
            ).fetchone()
            found = self._numbers[rate.rate_id] = int(row[0])
        return found

    def numbered(self, number: int) -> Rate:
        found = self._rates.get(number)
        if found is None:
            row = self._connection.execute(
                f"SELECT {RATE_COLUMNS} FROM price WHERE rate = ?", (number,)
            ).fetchone()
            found = self._rates[number] = rate_of(row)
        return found


RATE_COLUMNS = "rate_id, source, prices, least, listed"


def rate_of(row: Sequence[str]) -> Rate:
    """A rate from its stored `RATE_COLUMNS`."""
    rate_id, source, prices, least, listed = row
    floors = msgspec.json.decode(least)
    at_list = listing(rate_id, msgspec.json.decode(listed), floors) if listed else None
    return Rate(rate_id, source, msgspec.json.decode(prices), floors, at_list)


def _text(figures: Mapping[str, int]) -> str:
    return msgspec.json.encode(dict(figures), order="sorted").decode()
