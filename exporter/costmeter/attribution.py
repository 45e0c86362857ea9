"""Scopes: which matcher a record falls under, which feed books it, which bill settles it.

Each dollar is booked once because each scope has one feed that books its details and one
source whose bill is its amount. Every other feed of the scope is observed: compared,
never booked.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from msgspec import Struct

from costmeter.model import Labels

#: A scope in which whichever feed brings an event books it.
ANY_FEED = "any"
#: No feed books details, or no bill is the amount.
NONE = "none"


class Scope(Struct, frozen=True):
    """An ordered matcher over (provider, account, region, service); globs, `*` = all."""

    name: str
    provider: str = "*"
    account: str = "*"
    region: str = "*"
    service: str = "*"
    detail_from: str = ANY_FEED
    amount_from: str = NONE
    """The source whose bill is the amount; `none` leaves it to the meters."""
    basis: str = "effective"
    """The one basis of cost that settles; amounts on another one are kept beside it."""
    match_keys: tuple[str, ...] = ("account", "model")
    """Labels by which lines of a bill find their meters, from coarse to fine."""
    spread_up_permille: int = 100
    """How far above its metered sum a group may be lifted to its bill."""

    def matches(self, labels: Labels) -> bool:
        return (
            fnmatchcase(labels.provider, self.provider)
            and fnmatchcase(labels.account, self.account)
            and fnmatchcase(labels.region, self.region)
            and fnmatchcase(labels.service, self.service)
        )

    def books(self, feed: str) -> bool:
        """Whether usage that `feed` brings is booked here, or only observed."""
        return self.detail_from != NONE and self.detail_from in (ANY_FEED, feed)

    @property
    def only_billed(self) -> bool:
        """Whether nothing but the bill says what this scope costs."""
        return self.detail_from == NONE and self.amount_from != NONE


CATCH_ALL = Scope("default")


def scope_of(scopes: Sequence[Scope], labels: Labels) -> Scope:
    """The first scope that matches; a record that none matches falls under `default`."""
    return next((scope for scope in scopes if scope.matches(labels)), CATCH_ALL)
