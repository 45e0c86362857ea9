"""Fixed costs and inventory: the configuration as entries that accrue, and their jobs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from fractions import Fraction

from costmeter.config import Config
from costmeter.config.costs import booked, entries, scope_of_entry, service_of
from costmeter.config.fixed_costs import INTERNAL, KINDS, ONCE, YEAR, Entry, Item, Person
from costmeter.config.inventory import ON_DEMAND, Compute, Managed, Network, Placed, Storage
from costmeter.engine.jobs import Job
from costmeter.engine.schedule import BY_HAND, Every
from costmeter.ledger.accrued import Accruals, Accruing, Done, TermsAt
from costmeter.ledger.writer import Writer
from costmeter.model import MS_PER_DAY, MS_PER_HOUR, Labels, half_even
from costmeter.pricing import PriceBook
from costmeter.pricing.accrued import CALENDAR, Recurring, day_start, month_start
from costmeter.pricing.catalogue import NEVER_MS
from costmeter.pricing.exchange import USD, Exchange, day_number, day_of
from costmeter.pricing.gpu import GPU_CATEGORY
from costmeter.pricing.providers import canonical_provider

JOB, RESTATE = "fixed-costs", "restate-fixed-costs"
_EVERY_SECONDS = 60
#: Prices of GPUs are whole nano-USD for so many hours.
_MILLION = 1_000_000


class FixedCosts:
    """What accrues, from the newest configuration on."""

    def __init__(self, writer: Writer, entries_now: Sequence[Accruing]) -> None:
        self._writer = writer
        self._tally = writer.booking.tally
        self._accruals = Accruals(writer.booking)
        self._entries = tuple(entries_now)
        self._begun: tuple[Accruing, ...] | None = None
        self._waiting: tuple[str, ...] = ()

    def jobs(self) -> Sequence[Job]:
        return (
            Job(JOB, Every(_EVERY_SECONDS), self.run, "books fixed costs and inventory by now"),
            Job(RESTATE, BY_HAND, self.restate, "books all of them anew, as configured now"),
        )

    def catch_up(self) -> None:
        """Book what has accrued by now on the terms in force. Raises Unavailable."""
        while self._entries and self._step(restate=False).more:
            pass

    def change(self, entries_now: Sequence[Accruing]) -> None:
        """Go on with these; `catch_up` comes before, so that they count from now on."""
        self._entries = tuple(entries_now)

    def run(self) -> str:
        """Book what has accrued since the last time."""
        return self._book(restate=False)

    def restate(self) -> str:
        """Book what all entries have cost as if they had always been as they are now."""
        return self._book(restate=True)

    def _book(self, *, restate: bool) -> str:
        pieces, more = 0, True
        waiting: tuple[str, ...] = ()
        while more:
            done = self._step(restate=restate)
            pieces, more, waiting = pieces + done.pieces, done.more, done.waiting
        said = [f"{pieces} pieces booked"] if restate and pieces else []
        self._tally.set("costmeter_fixed_costs_waiting", to=len(waiting))
        if waiting != self._waiting:
            self._waiting = waiting
            text = f"no amount in USD is known now for {', '.join(waiting)}"
            said.append(text if waiting else "every entry has an amount in USD again")
        return "; ".join(said)

    def _step(self, *, restate: bool) -> Done:
        try:
            return self._writer.run(lambda: self._advance(restate=restate)).result()
        except BaseException:
            # What was rolled back is not known any more.
            self._accruals.forget()
            self._begun = None
            raise

    def _advance(self, *, restate: bool) -> Done:
        now = self._entries
        if self._begun is not now:
            self._accruals.begin(now)
            self._begun = now
        return self._accruals.advance(now, restate=restate)


def entries_of(config: Config, prices: PriceBook, rates: Exchange) -> list[Accruing]:
    """What accrues by this configuration.

    Inventory is left out in scopes that are booked from something else. Raises ValueError,
    with the setting and what to write, for an entry that has no price or no rate at all.
    """
    zone = config.ledger.reporting_timezone
    found = []
    for listed, entry in entries(config):
        if isinstance(entry, Placed) and not booked(scope_of_entry(config, entry)):
            continue
        where = f"{listed} '{entry.name}'"
        if entry.currency not in rates.currencies:
            raise ValueError(
                f"{where}: currency: there is no rate for {entry.currency}; add one to "
                "currencies.rates or to the file of currencies.rates_file"
            )
        if isinstance(entry, Compute) and not _priced(entry):
            at = _listed(entry, zone, prices)
            if at(_start(entry, zone) or NEVER_MS - 2)[0] is None:
                raise ValueError(
                    f"{where}: gpu: no price is known for {entry.gpu} as {entry.purchase} at "
                    f"{entry.provider}{f' in {entry.region}' if entry.region else ''}; write "
                    "price_per_hour"
                )
        else:
            at = _configured(entry, zone, rates)
        name = f"{listed.partition('.')[2]}/{entry.name}"
        end = None if not entry.end else day_start(date.fromisoformat(entry.end), zone)
        whole = isinstance(entry, Item) and entry.per == ONCE
        if whole and end is None and isinstance(entry, Item):
            end = month_start(entry.start, zone, entry.months)
        found.append(Accruing(name, labels_of(entry), _start(entry, zone), end, at, whole))
    return found


def amount_of(entry: Entry) -> tuple[Fraction, int]:
    """What an entry costs, in billionths of its currency, and for how many months."""
    match entry:
        case Person(hours_per_month=None):
            share = Fraction(entry.allocation_percent) / 100 * Fraction(entry.headcount)
            amount = Fraction(entry.salary or 0) * Fraction(entry.benefits_factor) * share
            return amount, 12 if entry.per == YEAR else 1
        case Person():
            return Fraction(entry.hours_per_month or 0) * entry.hourly_rate, 1
        case Item():
            months = entry.months if entry.per == ONCE else 12 if entry.per == YEAR else 1
            return Fraction(entry.amount), months
        case Compute():
            hours = Fraction(entry.count) * Fraction(entry.hours_per_month)
            if entry.price_per_hour is not None:
                return hours * entry.price_per_hour, 1
            return hours * (entry.on_demand_per_hour or 0) * _kept(entry), 1
        case Storage():
            operations = Fraction(entry.iops or 0) * (entry.price_per_iops_month or 0)
            return Fraction(entry.gb) * entry.price_per_gb_month + operations, 1
        case Network():
            return Fraction(entry.gb_per_month) * entry.price_per_gb, 1
        case Managed():
            return Fraction(entry.amount), 1
    raise TypeError(f"{type(entry).__name__} has no amount; write its case here")


def labels_of(entry: Entry) -> Labels:
    """Under which labels an entry is booked."""
    category, operation, model = "managed_services", "", ""
    match entry:
        case Person():
            category, operation = "personnel", entry.role
        case Item():
            category, operation = KINDS[entry.kind], entry.kind
        case Compute():
            category = GPU_CATEGORY if entry.gpu else "cpu_compute"
            operation, model = entry.purchase, entry.gpu
        case Storage():
            category, operation = "storage", entry.kind
        case Network():
            category, operation = "network", entry.transfer
    return Labels(
        tenant_id=entry.tenant_id,
        category=category,
        purpose="",
        provider=canonical_provider(getattr(entry, "provider", INTERNAL)),
        account=getattr(entry, "account", ""),
        region=getattr(entry, "region", ""),
        model=model,
        environment=entry.environment,
        team=entry.team,
        project=entry.project,
        service=service_of(entry),
        feature=entry.feature,
        operation=operation,
    )


def _configured(entry: Entry, zone: str, rates: Exchange) -> TermsAt:
    """Terms by the amounts of the configuration, in USD by the rate of each day."""
    amount, months = amount_of(entry)
    nano = half_even(amount.numerator, amount.denominator)
    once = isinstance(entry, Item) and entry.per == ONCE
    anchor = entry.start if once else CALENDAR
    if entry.currency == USD:
        terms = Recurring(nano, months, anchor, zone)
        return lambda _: (terms, NEVER_MS)

    def at(at_ms: int) -> tuple[Recurring | None, int]:
        # What was paid once was paid at the rate of its day.
        day = day_number(entry.start) if once else day_of(at_ms)
        usd = rates.nano(nano, entry.currency, day)
        until_ms = NEVER_MS if once else (day + 1) * MS_PER_DAY
        return None if usd is None else Recurring(usd, months, anchor, zone), until_ms

    return at


def _listed(entry: Compute, zone: str, prices: PriceBook) -> TermsAt:
    """Terms by the price list: as bought where that is listed, else on demand less discount."""
    hours = Fraction(entry.count) * Fraction(entry.hours_per_month)
    as_bought = labels_of(entry)._replace(service=entry.instance_type)
    on_demand = as_bought._replace(operation=ON_DEMAND)

    def at(at_ms: int) -> tuple[Recurring | None, int]:
        until_ms = NEVER_MS
        asked = [(as_bought, Fraction(1))] if entry.discount_percent is None else []
        for labels, kept in [*asked, (on_demand, _kept(entry))]:
            found = prices.found(labels, at_ms, "standard")
            until_ms = min(until_ms, found.until_ms)
            tariff = found.tariff
            many = (
                None if tariff is None else tariff.rates[0].cost({"gpu_ms": _MILLION * MS_PER_HOUR})
            )
            if many is not None:
                amount = Fraction(many, _MILLION) * hours * kept
                nano = half_even(amount.numerator, amount.denominator)
                return Recurring(nano, 1, CALENDAR, zone), until_ms
        return None, until_ms

    return at


def _priced(entry: Compute) -> bool:
    return entry.price_per_hour is not None or entry.on_demand_per_hour is not None


def _kept(entry: Compute) -> Fraction:
    """The share of the price on demand that is paid."""
    return 1 - Fraction(entry.discount) / 100


def _start(entry: Entry, zone: str) -> int | None:
    return day_start(date.fromisoformat(entry.start), zone) if entry.start else None
