"""What is wrong with costs of the configuration: alone, and beside scopes and currencies."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

from costmeter.config.fixed_costs import INTERNAL, Entry, Item
from costmeter.config.inventory import FEED, Managed, Placed
from costmeter.config.schema import Config
from costmeter.config.scopes import ANY_FEED, NONE, Scope
from costmeter.config.spec import names_of

Mistake = tuple[str, str]


def entries(config: Config) -> Iterator[tuple[str, Entry]]:
    """Every entry of fixed costs and inventory with the list that it stands in."""
    for section in ("fixed_costs", "inventory"):
        record = getattr(config, section)
        for name in names_of(type(record)):
            for entry in getattr(record, name):
                yield f"{section}.{name}", entry


def mistakes_of_costs(config: Config) -> Iterator[Mistake]:
    """Every mistake as (key of the setting, what is wrong and what to write)."""
    for key, text in config.currencies.mistakes():
        yield f"currencies.{key}", text
    for where, entry in _placed(config):
        for key, text in entry.mistakes():
            yield f"{where}.{key}", text
        if unknown := config.currencies.unknown(entry.currency):
            yield f"{where}.currency", unknown
        if not isinstance(entry, Placed):
            yield from _billed(config, where, entry)


def left_out(config: Config) -> Iterator[Mistake]:
    """Inventory that costs nothing, because something else books its scope, as warnings."""
    for where, entry in _placed(config):
        scope = scope_of_entry(config, entry)
        if isinstance(entry, Placed) and scope is not None and not booked(scope):
            books = scope.amount_from if scope.detail_from == NONE else scope.detail_from
            text = f"'{entry.name}' is not booked: {books} says what the scope '{scope.name}' costs"
            yield where, text


def _placed(config: Config) -> Iterator[tuple[str, Entry]]:
    """Every entry with its key."""
    numbers: dict[str, int] = {}
    for listed, entry in entries(config):
        number = numbers.get(listed, 0)
        numbers[listed] = number + 1
        yield f"{listed}[{number}]", entry


def scope_of_entry(config: Config, entry: Entry) -> Scope | None:
    """The configured scope that an entry falls into; None for the catch-all."""
    provider = getattr(entry, "provider", INTERNAL)
    account, region = getattr(entry, "account", ""), getattr(entry, "region", "")
    service = service_of(entry)
    for scope in config.scopes:
        match = scope.match
        if (
            fnmatchcase(provider, match.provider)
            and fnmatchcase(account, match.account)
            and fnmatchcase(region, match.region)
            and fnmatchcase(service, match.service)
        ):
            return scope
    return None


def service_of(entry: Entry) -> str:
    """What scopes and answers see as the service: the machine or service, else the name."""
    if isinstance(entry, Managed):
        return entry.service or entry.name
    return getattr(entry, "instance_type", "") or entry.name


def booked(scope: Scope | None) -> bool:
    """Whether inventory is what a scope is booked from."""
    return scope is None or scope.detail_from in (ANY_FEED, FEED)


def _billed(config: Config, where: str, entry: Entry) -> Iterator[Mistake]:
    """Fixed costs are no meters: a bill over their scope would count them away."""
    scope = scope_of_entry(config, entry)
    if scope is None or (scope.amount_from == NONE and scope.detail_from == ANY_FEED):
        return
    provider = entry.provider if isinstance(entry, Item) else INTERNAL
    decides = (
        f"the bill of {scope.amount_from}"
        if scope.amount_from != NONE
        else f"the feed {scope.detail_from}"
    )
    text = f"falls into the scope '{scope.name}', where {decides} says what is spent"
    yield where, f"{text}; put a scope with `match: {{provider: {provider}}}` alone before it"
