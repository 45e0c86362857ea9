"""What a kind of file means: which columns are read, and what a row of them charges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple, Protocol

from costmeter.model import Labels
from costmeter.pricing.providers import canonical_provider
from costmeter.sources.categories import category_of
from costmeter.sources.contract import Settings
from costmeter.sources.files.values import Unreadable
from costmeter.sources.owners import Owners
from costmeter.sources.reading import clean
from costmeter.sources.tags import TagKeys

#: Names of FOCUS's columns of cost. A file that lacks one says nothing on that basis.
BASES = ("effective", "billed", "list", "contracted")
Amounts = tuple[Decimal | None, Decimal | None, Decimal | None, Decimal | None]

_CLOUDS = (("amazon", "aws"), ("aws", "aws"), ("microsoft", "azure"), ("azure", "azure"),
           ("google", "gcp"))  # fmt: skip


class WrongFile(Exception):
    """The file is of another kind; the text says what it lacks."""


class Group(NamedTuple):
    """What rows have in common that become one line of a day."""

    labels: Labels
    charge: str
    currency: str
    #: What the shape needs to read amounts, such as the type of a line item.
    kind: str = ""
    #: Whether a period of several days is divided among them.
    lasts: bool = True


class Shape(Protocol):
    """How a file with these columns is read."""

    @property
    def keys(self) -> tuple[str, ...]:
        """Columns of which `group` takes the cells."""
        ...

    @property
    def start(self) -> str: ...

    @property
    def end(self) -> str:
        """Empty where rows are of one day."""
        ...

    @property
    def costs(self) -> tuple[str, ...]:
        """Columns of which `amounts` takes the cells."""
        ...

    def group(self, cells: Sequence[Any]) -> Group:
        """Raises Unreadable."""
        ...

    def amounts(self, group: Group, cells: Sequence[Any], /) -> Amounts:
        """By `BASES`, None on a basis of which the file says nothing; raises Unreadable."""
        ...


class Whose:
    """Labels of a charge: by owner rules, tags, and the category of what was consumed."""

    def __init__(self, settings: Settings, tags: TagKeys) -> None:
        self.tags = tags
        self._account = settings.account
        self._owners = Owners(settings, "", nobody="")

    def labels(
        self,
        provider: str,
        service: str,
        *,
        account: str = "",
        payer: str = "",
        region: str = "",
        usage: str = "",
        family: str = "",
        model: str = "",
        tags: Mapping[str, str],
    ) -> Labels:
        """`account` is the one that consumed, `payer` the one that is charged."""
        category = category_of(service, usage, family)
        llm = category == "llm_api"
        # Models of Google are metered under the provider's name, not under its cloud's.
        provider = "google" if llm and provider == "gcp" else provider
        found = self._owners.labels(
            model,
            provider=provider or "unknown",
            project=account,
            region=region,
            service=service,
            operation="",
        )._replace(category=category, purpose="inference" if llm else "")
        found = found._replace(account=self._account or clean(account or payer))
        return self.tags.labels(found, tags)


def provider_of(said: str) -> str:
    """`Amazon Web Services, Inc.` as aws, and so on; others by their canonical name."""
    lower = said.lower()
    for word, name in _CLOUDS:
        if word in lower:
            return name
    return canonical_provider(lower)


def currency_of(said: str, column: str) -> str:
    """Three letters; raises Unreadable."""
    if len(said) != 3 or not said.isascii() or not said.isalpha():
        raise Unreadable(column, f"{said[:20]!r} is no currency")
    return said.upper()
