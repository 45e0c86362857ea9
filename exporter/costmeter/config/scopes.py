"""Scopes: which source a dollar is booked from, so that it is booked once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from costmeter.config.kinds import Kind, Pattern
from costmeter.config.records import Section
from costmeter.config.spec import Setting
from costmeter.config.values import NAME

#: The name of the scope that takes whatever no other scope matches.
CATCH_ALL = "default"
#: The word that stands for every feed.
ANY_FEED = "any"

GLOB: Kind[str] = Pattern(
    r"[^\x00-\x1f\x7f]{1,256}", "a pattern", "text in which * stands for anything and ? for one"
)


@dataclass(frozen=True, slots=True)
class Match:
    """Patterns with * and ?; all four have to match."""

    provider: Annotated[str, Setting(GLOB, "Pattern of the provider.")] = "*"
    account: Annotated[str, Setting(GLOB, "Pattern of the provider's account.")] = "*"
    region: Annotated[str, Setting(GLOB, "Pattern of the region.")] = "*"
    service: Annotated[str, Setting(GLOB, "Pattern of the service.")] = "*"

    @property
    def everything(self) -> bool:
        return set(self.provider + self.account + self.region + self.service) == {"*"}


@dataclass(frozen=True, slots=True)
class Scope:
    name: Annotated[str, Setting(NAME, "Name of the scope.", required=True)] = CATCH_ALL
    match: Annotated[Match, Setting(Section(Match), "What belongs to the scope.")] = Match()
    detail_from: Annotated[
        str,
        Setting(
            NAME,
            "The feed (the name of its token) that books this scope; the others are "
            "compared with it and never booked. 'any' books every feed.",
        ),
    ] = ANY_FEED
