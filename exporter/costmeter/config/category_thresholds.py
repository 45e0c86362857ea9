"""Amounts of a category of cost at which somebody is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from msgspec import Struct

from costmeter.config.kinds import Amount, Choice
from costmeter.config.spec import Setting
from costmeter.model import CATEGORIES


class CategoryThreshold(Struct, frozen=True):
    """Amounts of a category's spend in a month at which somebody is told."""

    category: Annotated[
        str, Setting(Choice(*CATEGORIES), "The category of cost.", required=True)
    ] = ""
    warning_nano: Annotated[
        int | None,
        Setting(Amount(optional=True), "Warned at.", unit="USD", key="warning_usd"),
    ] = None
    critical_nano: Annotated[
        int | None,
        Setting(Amount(optional=True), "Paged at.", unit="USD", key="critical_usd"),
    ] = None

    def mistakes(self) -> Iterator[tuple[str, str]]:
        """Settings that do not go together: (key, what to write instead)."""
        if self.warning_nano is None and self.critical_nano is None:
            yield "warning_usd", "is missing, and critical_usd too; write one of them"
        elif None not in (self.warning_nano, self.critical_nano) and (
            (self.warning_nano or 0) >= (self.critical_nano or 0)
        ):
            yield "warning_usd", "is not below critical_usd; write a smaller amount"
