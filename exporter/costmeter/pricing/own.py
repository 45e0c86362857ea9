"""Hardware of one's own: what it cost, over the time that it is to serve, and its energy.

A GPU-hour costs (capex_usd - residual_usd) / months + usd_per_month, divided by 730 hours
and by the GPUs of the machine; a kWh costs usd_per_kwh x pue.
"""

from __future__ import annotations

from fractions import Fraction

from costmeter.model import GPU_ENERGY, HOURS_PER_MONTH, NANO_PER_USD, half_even
from costmeter.pricing.nodes import Entry
from costmeter.pricing.rates import GPU_MS, MILLION

#: Three years, in which most companies write servers off.
MONTHS = 36
_KEYS = ("capex_usd", "residual_usd", "months", "usd_per_month", "usd_per_kwh", "pue")


def own_figures(entry: Entry, gpus: int, *, hourly: bool) -> dict[str, int]:
    """Nano-USD per million GPU-hours and kWh; an `hourly` price stands beside it already.

    PriceFileError where figures are missing or contradict each other.
    """
    fields = entry.fields(_KEYS)
    time = [fields[name] for name in ("capex_usd", "usd_per_month") if name in fields]
    if hourly and time:
        time[0].refuse("stands beside usd_per_hour.gpu; write one of the two")
    if not hourly and not time:
        entry.refuse(
            "does not say what the GPU's time costs; write capex_usd, usd_per_month, or "
            "usd_per_hour: {gpu: ...} beside own (0 for what is paid for)"
        )
    for name in ("residual_usd", "months"):
        if name in fields and "capex_usd" not in fields:
            fields[name].refuse("belongs to capex_usd; add that, or drop it")
    found = {}
    if time:
        a_month = _written_off(fields) + _usd(fields, "usd_per_month")
        found[GPU_MS] = _rounded(a_month / (HOURS_PER_MONTH * gpus))
    if "usd_per_kwh" in fields:
        found[GPU_ENERGY] = _rounded(_usd(fields, "usd_per_kwh") * _overhead(fields))
    elif "pue" in fields:
        fields["pue"].refuse("belongs to usd_per_kwh; add that, or drop pue")
    return found


def _written_off(fields: dict[str, Entry]) -> Fraction:
    """USD a month of what was paid once."""
    if "capex_usd" not in fields:
        return Fraction(0)
    months = fields["months"].integer() if "months" in fields else MONTHS
    if months < 1:
        fields["months"].refuse("is no time; write for example months: 36")
    left = _usd(fields, "capex_usd") - _usd(fields, "residual_usd")
    if left < 0:
        fields["residual_usd"].refuse("is more than capex_usd; write what it can be sold for")
    return left / months


def _overhead(fields: dict[str, Entry]) -> Fraction:
    """How much the building draws for a kWh of its machines."""
    if "pue" not in fields:
        return Fraction(1)
    pue = Fraction(fields["pue"].number())
    if not 1 <= pue <= 10:
        fields["pue"].refuse(f"{float(pue):g} is no PUE; write 1 or more, for example 1.4")
    return pue


def _usd(fields: dict[str, Entry], name: str) -> Fraction:
    return Fraction(fields[name].number()) if name in fields else Fraction(0)


def _rounded(usd: Fraction) -> int:
    exact = usd * NANO_PER_USD * MILLION
    return half_even(exact.numerator, exact.denominator)
