"""Contracts: what is agreed with a provider instead of its list prices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Annotated

from msgspec import Struct
from msgspec.structs import asdict

from costmeter.config.kinds import Amount, Choice, Kind, Pattern, Whole
from costmeter.config.records import Section
from costmeter.config.scopes import GLOB
from costmeter.config.spec import Setting
from costmeter.config.values import NAME, OPTIONAL_LABEL
from costmeter.model import PROCESSING

_PRICE: Kind[str] = Pattern(
    r"[0-9]{1,9}(\.[0-9]{1,9})?", "a price", "USD with up to 9 decimals, such as 2.50", empty=True
)
_PERCENT: Kind[str] = Pattern(
    r"[0-9]{1,2}(\.[0-9]{1,9})?", "a percentage below 100", "a number such as 12.5", empty=True
)
_DAY: Kind[str] = Pattern(
    r"20[0-9]{2}-[0-9]{2}-[0-9]{2}", "a day", "it as YYYY-MM-DD, such as 2026-07-01", empty=True
)


def _price(about: str) -> Setting:
    return Setting(_PRICE, about)


class TokenPrices(Struct, frozen=True):
    """USD per million tokens by class."""

    input: Annotated[str, _price("Input that no cache served.")] = ""
    cache_read: Annotated[str, _price("Input that a cache served.")] = ""
    cache_write: Annotated[str, _price("Writes to a cache, of every lifetime.")] = ""
    cache_write_5m: Annotated[str, _price("Writes that last five minutes.")] = ""
    cache_write_1h: Annotated[str, _price("Writes that last an hour.")] = ""
    output: Annotated[str, _price("Output.")] = ""
    reasoning: Annotated[str, _price("Reasoning.")] = ""
    input_audio: Annotated[str, _price("Audio that goes in.")] = ""
    output_audio: Annotated[str, _price("Audio that comes out.")] = ""
    input_image: Annotated[str, _price("Images that go in.")] = ""
    output_image: Annotated[str, _price("Images that come out.")] = ""


class UnitPrices(Struct, frozen=True):
    """USD apiece."""

    requests: Annotated[str, _price("A fee for each call.")] = ""
    web_searches: Annotated[str, _price("A web search.")] = ""
    code_executions: Annotated[str, _price("A run of code.")] = ""
    input_pages: Annotated[str, _price("A page that goes in.")] = ""


class HourPrices(Struct, frozen=True):
    """USD an hour."""

    gpu: Annotated[str, _price("One GPU.")] = ""


class Commitment(Struct, frozen=True):
    """A flat amount a month, which pays for a volume."""

    usd: Annotated[
        int | None,
        Setting(Amount(optional=True), "What is paid for each calendar month (UTC).", unit="USD"),
    ] = None
    covers_tokens: Annotated[
        int,
        Setting(Whole(0, 10**15), "The tokens of a month that it pays for, of every class."),
    ] = 0
    covers_usd: Annotated[
        int | None,
        Setting(
            Amount(optional=True),
            "The usage of a month that it pays for, at the contract's prices.",
            unit="USD",
        ),
    ] = None

    def mistakes(self) -> Iterator[tuple[str, str]]:
        covers = (self.covers_tokens > 0, self.covers_usd is not None)
        if self.usd is None:
            if any(covers):
                yield "usd", "is missing; write what is paid for each month"
        elif covers == (False, False):
            yield "covers_usd", "is missing; write what the amount pays for, or covers_tokens"
        elif all(covers):
            yield "covers_usd", "stands beside covers_tokens; keep one of them"


class Contract(Struct, frozen=True):
    name: Annotated[
        str, Setting(NAME, "What the contract is called beside its prices.", required=True)
    ] = ""
    provider: Annotated[str, Setting(GLOB, "Pattern of the provider.", required=True)] = "*"
    model: Annotated[str, Setting(GLOB, "Pattern of the model, or of the GPU's card.")] = "*"
    account: Annotated[str, Setting(GLOB, "Pattern of the provider's account.")] = "*"
    region: Annotated[str, Setting(GLOB, "Pattern of the region.")] = "*"
    processing: Annotated[
        str,
        Setting(
            Choice(*PROCESSING, "any", empty=True),
            "The service tier. Empty: the discount is for each of them, negotiated prices are "
            "for standard.",
        ),
    ] = ""
    valid_from: Annotated[
        str, Setting(_DAY, "The first day (UTC). Empty: always was.", key="from")
    ] = ""
    until: Annotated[str, Setting(_DAY, "The first day on which it no longer holds (UTC).")] = ""
    reference: Annotated[
        str, Setting(OPTIONAL_LABEL, "Where it is written; shown beside the price.")
    ] = ""
    discount_percent: Annotated[str, Setting(_PERCENT, "Off list prices.", unit="percent")] = ""
    usd_per_million: Annotated[
        TokenPrices, Setting(Section(TokenPrices), "Negotiated prices of a million tokens.")
    ] = TokenPrices()
    usd_per_unit: Annotated[
        UnitPrices, Setting(Section(UnitPrices), "Negotiated prices of one piece.")
    ] = UnitPrices()
    usd_per_hour: Annotated[
        HourPrices, Setting(Section(HourPrices), "Negotiated prices of an hour.")
    ] = HourPrices()
    commitment: Annotated[
        Commitment, Setting(Section(Commitment), "What is paid whether it is used or not.")
    ] = Commitment()

    @property
    def negotiated(self) -> dict[str, str]:
        """Negotiated prices as they were written, by `section.class`."""
        found = {}
        for section in ("usd_per_million", "usd_per_unit", "usd_per_hour"):
            for name, text in asdict(getattr(self, section)).items():
                if text:
                    found[f"{section}.{name}"] = text
        return found

    def mistakes(self) -> Iterator[tuple[str, str]]:
        """Settings that do not go together: (key, what to write instead)."""
        for key, text in (("from", self.valid_from), ("until", self.until)):
            if text and not _is_day(text):
                yield key, f"{text} is in no calendar; write a day such as 2026-07-01"
        if self.valid_from and self.until and self.until <= self.valid_from:
            yield "until", f"{self.until} is not after from; it is the first day without it"
        if not self.discount_percent and not self.negotiated and self.commitment.usd is None:
            text = "is missing, and so is every other price; write it, or usd_per_million"
            yield "discount_percent", text
        for key, text in self.commitment.mistakes():
            yield f"commitment.{key}", text
        if self.commitment.usd is not None and not self.valid_from:
            yield "from", "is missing; write the day from which the commitment is paid"
        if self.commitment.usd is not None and self.processing not in ("", "any"):
            text = "a commitment pays for every service tier; remove it, or write any"
            yield "processing", text

    def hides(self, other: Contract) -> bool:
        """Whether nothing is left for `other` where this one stands before it."""
        return (
            all(
                getattr(self, name) in ("*", getattr(other, name))
                for name in ("provider", "model", "account", "region")
            )
            and (self.valid_from <= other.valid_from)
            and (not self.until or (bool(other.until) and other.until <= self.until))
            and (self.processing == "any" or self.processing == other.processing)
            and (bool(self.discount_percent) or not other.discount_percent)
        )


def mistakes(contracts: Sequence[Contract]) -> Iterator[tuple[str, str]]:
    """Every mistake as (key below `contracts`, what is wrong and what to write)."""
    for number, contract in enumerate(contracts):
        for key, text in contract.mistakes():
            yield f"contracts[{number}].{key}", text
        before = next((one for one in contracts[:number] if one.hides(contract)), None)
        if before is not None:
            text = f"can never hold: '{before.name}' before it takes everything; move it up"
            yield f"contracts[{number}]", text


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
