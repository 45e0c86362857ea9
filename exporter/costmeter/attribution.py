"""Scopes: which matcher a record falls under, and which feed books it.

Each dollar is booked once because each scope has one feed that books its details.
Every other feed of the scope is observed: compared, never booked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from costmeter.model import Labels

#: A scope in which whichever feed brings an event books it.
ANY_FEED = "any"


@dataclass(frozen=True, slots=True)
class Scope:
    """An ordered matcher over (provider, account, region, service); globs, `*` = all."""

    name: str
    provider: str = "*"
    account: str = "*"
    region: str = "*"
    service: str = "*"
    detail_from: str = ANY_FEED

    def matches(self, labels: Labels) -> bool:
        return (
            fnmatchcase(labels.provider, self.provider)
            and fnmatchcase(labels.account, self.account)
            and fnmatchcase(labels.region, self.region)
            and fnmatchcase(labels.service, self.service)
        )

    def books(self, feed: str) -> bool:
        """Whether usage that `feed` brings is booked here, or only observed."""
        return self.detail_from in (ANY_FEED, feed)


CATCH_ALL = Scope("default")


def scope_of(scopes: Sequence[Scope], labels: Labels) -> Scope:
    """The first scope that matches; a record that none matches falls under `default`."""
    return next((scope for scope in scopes if scope.matches(labels)), CATCH_ALL)
