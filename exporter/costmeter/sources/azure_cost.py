"""Azure Cost Management: what a subscription or a billing account is charged, by day."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from costmeter.sources.azure_auth import Manager, subscriptions_of
from costmeter.sources.azure_bill import GROUPS, METERS, Naming, Reading
from costmeter.sources.azure_query import Pace, Question, Sum, ask
from costmeter.sources.buckets import through_today
from costmeter.sources.contract import Desk, Page, Rhythm, Settings, Window
from costmeter.sources.gather import Charges
from costmeter.sources.options import Options
from costmeter.sources.owners import Owners
from costmeter.sources.tags import tag_keys

#: Azure changes figures until a billing period is closed, up to five days after its end. The
#: whole of that is one window: a question takes a query unit for each month, not for a day.
RHYTHM = Rhythm(every_seconds=21_600, restated_days=36, lookback_days=60, step_days=62)
FINAL_AFTER_DAYS = 5
BASES: Mapping[str, str] = {"effective": "AmortizedCost", "billed": "ActualCost"}
_SCOPE = re.compile(
    r"/(subscriptions|providers/Microsoft\.(Management|Billing))/[A-Za-z0-9/._:()-]{1,400}"
)


class AzureCost:
    def __init__(self, settings: Settings) -> None:
        """Raises ValueError for settings that do not go together."""
        options = Options(settings.options)
        self.name = settings.name
        self.rhythm = settings.rhythm or RHYTHM
        # Whoever names itself has query units of its own.
        self._manager = Manager(settings, options, {"ClientType": "costmeter"})
        self._pace = Pace()
        self._scopes = _scopes(options)
        self._bases = options.several("bases", BASES, BASES)
        self._final_after_days = options.whole("final_after_days", FINAL_AFTER_DAYS)
        tags = tag_keys(options)
        group = options.word("group", "none" if tags.asked else "resource_group", GROUPS)
        if tags.asked and group != "none":
            raise ValueError("Azure groups by two things; keep either group or the tag")
        if len(tags.asked) > 1:
            raise ValueError("Azure groups by one tag; keep one of the options that name a tag")
        self._naming = Naming(
            Owners(settings, "azure"),
            settings.account,
            group,
            tags,
            tuple(
                category
                for word in options.several("meters", ("ai",), METERS)
                for category in METERS[word]
            ),
        )
        options.finish("azure_cost")

    def fetch(self, window: Window, desk: Desk) -> Iterator[Page]:
        for scope, subscription in self._scopes:
            for basis in self._bases:
                yield self._page(scope, subscription, basis, window, desk)

    def _page(self, scope: str, subscription: str, basis: str, window: Window, desk: Desk) -> Page:
        since_ms, until_ms, kind = window.since_ms, through_today(window), BASES[basis]

        def asked(
            groups: Sequence[tuple[str, str]], only: Sequence[tuple[str, Sequence[str]]]
        ) -> Iterator[Sum]:
            question = Question(kind, groups, only)
            return ask(self._manager, desk, self._pace, scope, question, since_ms, until_ms)

        charges = Charges(window.now_ms, self._final_after_days, basis)
        Reading(self._naming, subscription, charges, asked).read()
        return Page(f"{kind} {scope.lower()}", since_ms, until_ms, (), charges.take())


def _scopes(options: Options) -> tuple[tuple[str, str], ...]:
    """Each scope, with the subscription that it is, if it is one."""
    subscriptions, scope = subscriptions_of(options), options.word("scope", "").rstrip("/")
    if bool(subscriptions) == bool(scope):
        raise ValueError(
            "names no part of Azure; write one of the options subscriptions=<id>+<id> and "
            "scope=/providers/Microsoft.Billing/billingAccounts/<id>"
        )
    if scope and not _SCOPE.fullmatch(scope):
        raise ValueError(f"option scope={scope} is no scope of Azure's cost management")
    return tuple((f"/subscriptions/{name}", name) for name in subscriptions) or ((scope, ""),)
