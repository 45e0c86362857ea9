"""Scopes: which source a dollar is booked from, so that it is booked once, and which
bill is its amount."""

from __future__ import annotations

from typing import Annotated

from msgspec import Struct

from costmeter.config.kinds import Choice, Kind, Pattern, Whole
from costmeter.config.records import ListOf, Section
from costmeter.config.spec import Setting
from costmeter.config.values import NAME

#: The name of the scope that takes whatever no other scope matches.
CATCH_ALL = "default"
#: The word that stands for every feed.
ANY_FEED = "any"
#: The word for no feed, or no bill.
NONE = "none"

SCOPE_NAME: Kind[str] = Pattern(
    r"[a-zA-Z0-9_./-]{1,128}", "a name", "up to 128 letters, digits, '_', '.', '/' and '-'"
)
#: Labels that lines of bills and meters can agree in.
_KEYS = ("account", "region", "service", "project", "operation", "model")

GLOB: Kind[str] = Pattern(
    r"[^\x00-\x1f\x7f]{1,256}", "a pattern", "text in which * stands for anything and ? for one"
)


class Match(Struct, frozen=True):
    """Patterns with * and ?; all four have to match."""

    provider: Annotated[str, Setting(GLOB, "Pattern of the provider.")] = "*"
    account: Annotated[str, Setting(GLOB, "Pattern of the provider's account.")] = "*"
    region: Annotated[str, Setting(GLOB, "Pattern of the region.")] = "*"
    service: Annotated[str, Setting(GLOB, "Pattern of the service.")] = "*"

    @property
    def everything(self) -> bool:
        return set(self.provider + self.account + self.region + self.service) == {"*"}


class Scope(Struct, frozen=True):
    name: Annotated[str, Setting(SCOPE_NAME, "Name of the scope.", required=True)] = CATCH_ALL
    match: Annotated[Match, Setting(Section(Match), "What belongs to the scope.")] = Match()
    detail_from: Annotated[
        str,
        Setting(
            NAME,
            "The feed (the name of its token) that books this scope; the others are "
            "compared with it and never booked. 'any' books every feed, 'none' books no "
            "feed: then the bill alone says what the scope costs.",
        ),
    ] = ANY_FEED
    amount_from: Annotated[
        str,
        Setting(
            NAME,
            "The source whose bill is the amount once it is final; 'none' leaves the amount "
            "to the meters. Bills of other sources are kept and never booked.",
        ),
    ] = NONE
    basis: Annotated[
        str,
        Setting(
            Choice("effective", "billed", "contracted", "list"),
            "The basis of cost that settles. Amounts on another basis are kept beside it.",
        ),
    ] = "effective"
    match_keys: Annotated[
        tuple[str, ...],
        Setting(
            ListOf(Choice(*_KEYS), "labels"),
            "Labels by which lines of the bill find their meters, from coarse to fine. What "
            "does not agree in all of them is matched without the last one, and so on.",
        ),
    ] = ("account", "model")
    spread_up_permille: Annotated[
        int,
        Setting(
            Whole(0, 10_000),
            "How far above its metered sum a group may be lifted to its bill, in thousandths. "
            "What is over that is unattributed.",
        ),
    ] = 100
