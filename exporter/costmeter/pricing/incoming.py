"""A newer catalogue from a file: genai-prices' own data (JSON), or one that is compiled.

The data file is read without genai-prices and with exact decimals, checked whole, and
compiled by the same rules as the package's own catalogue. What the rules do not know stops
it; a file is taken whole or not at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec

from costmeter.model import PROCESSING
from costmeter.pricing.catalogue import Catalogue, Model, RawCatalogue
from costmeter.pricing.compile import NO_DAY, OMITTED_KEYS, PRICE_KEYS, CompileError, as_of, render
from costmeter.pricing.errors import PriceFileError
from costmeter.pricing.match import predicate
from costmeter.pricing.rates import PRICE_KEYS as KNOWN_CLASSES

_CLAUSES = frozenset({"equals", "starts_with", "ends_with", "contains", "regex"})
_DAY = re.compile(r"20\d\d-\d\d-\d\d")
#: A price of this many USD a million is a mistake of units, not a price.
_DEAREST_USD = Decimal(10**6)


class _Wrong(Exception):
    """What is wrong, and in which entry."""


def read_catalogue(path: Path, read_on: str = "") -> bytes:
    """The text of a compiled catalogue for a file of either kind. Raises PriceFileError.

    `read_on` (a date) says when the prices of a data file were read; without it its own
    remarks say so, else the date in its name.
    """
    try:
        raw = json.loads(path.read_text("utf-8"), parse_float=Decimal, parse_constant=_no_number)
    except OSError as error:
        raise _refused(path, f"cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise _refused(path, f"is not JSON ({error})") from None
    try:
        compiled = _compiled(path, raw, read_on)
        check(compiled)
    except (_Wrong, CompileError) as error:
        raise _refused(path, str(error)) from None
    return compiled


def _compiled(path: Path, raw: Any, read_on: str) -> bytes:
    if isinstance(raw, dict) and "figures" in raw:
        return path.read_bytes()
    if not isinstance(raw, list):
        raise _Wrong("holds neither a list of providers nor a compiled catalogue")
    remarks = [_remark(one) for one in raw if isinstance(one, dict)]
    remarks += [
        _remark(model)
        for one in raw
        if isinstance(one, dict) and isinstance(one.get("models"), list)
        for model in one["models"]
        if isinstance(model, dict)
    ]
    day = read_on or as_of(remarks)
    if day == NO_DAY:
        found = _DAY.search(path.name)
        if found is None:
            raise _Wrong("does not say when its prices were read; write --as-of DATE")
        day = found.group()
    return render([_provider(one) for one in raw], f"genai-prices data {path.name}", day).encode()


def check(compiled: bytes) -> None:
    """Read every entry of a compiled catalogue, as pricing would one day."""
    try:
        raw = msgspec.json.decode(compiled, type=RawCatalogue)
        Catalogue(compiled)
    except (msgspec.MsgspecError, ValueError) as error:
        raise _Wrong(f"is no compiled catalogue ({error})") from None
    seen: set[str] = set()
    for provider in raw.providers:
        if provider.id in seen:
            raise _Wrong(f"provider {provider.id} stands twice")
        seen.add(provider.id)
        for entry in provider.models:
            where = f"{provider.id}/{entry.id}"
            try:
                predicate(msgspec.json.decode(entry.match))
                model = Model(provider.id, entry)
                for processing in PROCESSING:
                    figures = model.window(0, processing).figures
                    unknown = set(figures or ()) - KNOWN_CLASSES
                    if unknown:
                        raise _Wrong(f"{where}: unknown class {min(unknown)}")
            except (msgspec.MsgspecError, ValueError, TypeError, IndexError, re.error) as error:
                raise _Wrong(f"{where}: {error}") from None
    if not seen:
        raise _Wrong("names no provider")


def _provider(raw: Any) -> SimpleNamespace:
    fields = _mapping(raw, "a provider")
    name = _text(fields, "id", "a provider")
    models = fields.get("models")
    if not isinstance(models, list):
        raise _Wrong(f"{name}: models is no list")
    ids = [_text(_mapping(one, f"a model of {name}"), "id", f"a model of {name}") for one in models]
    twice = {one for one in ids if ids.count(one) > 1} if len(set(ids)) < len(ids) else ()
    if twice:
        raise _Wrong(f"{name}/{min(twice)} stands twice")
    return SimpleNamespace(
        id=name,
        provider_match=_rule(fields.get("provider_match"), name),
        model_match=_rule(fields.get("model_match"), name),
        fallback_model_providers=fields.get("fallback_model_providers"),
        price_comments=_remark(fields),
        models=[_model(name, one) for one in models],
    )


def _model(provider: str, fields: Mapping[str, Any]) -> SimpleNamespace:
    where = f"{provider}/{fields['id']}"
    if "match" not in fields or "prices" not in fields:
        raise _Wrong(f"{where} has no {'match' if 'match' not in fields else 'prices'}")
    window = fields.get("context_window")
    if window is not None and (not isinstance(window, int) or isinstance(window, bool)):
        raise _Wrong(f"{where}: context_window {window!r} is no count of tokens")
    prices = fields["prices"]
    return SimpleNamespace(
        id=fields["id"],
        name=fields.get("name"),
        match=_rule(fields["match"], where),
        context_window=window,
        deprecated=bool(fields.get("deprecated")),
        price_comments=_remark(fields),
        prices=[_dated(one, where) for one in prices]
        if isinstance(prices, list)
        else _prices(prices, where),
        price_variants=[
            SimpleNamespace(when=_mapping(one.get("when"), where), **vars(_dated(one, where)))
            for one in fields.get("price_variants") or ()
        ],
    )


def _dated(raw: Any, where: str) -> SimpleNamespace:
    fields = _mapping(raw, where)
    constraint = fields.get("constraint")
    return SimpleNamespace(
        constraint=None if constraint is None else _constraint(constraint, where),
        prices=_prices(fields.get("prices"), where),
    )


def _constraint(raw: Any, where: str) -> SimpleNamespace:
    fields = _mapping(raw, where)
    try:
        if set(fields) == {"start_date"}:
            return SimpleNamespace(start_date=date.fromisoformat(fields["start_date"]))
        if set(fields) == {"start_time", "end_time"}:
            return SimpleNamespace(
                **{name: time.fromisoformat(text) for name, text in fields.items()}
            )
    except (TypeError, ValueError) as error:
        raise _Wrong(f"{where}: {error}") from None
    raise _Wrong(f"{where}: the constraint {', '.join(sorted(fields))} is not known")


def _prices(raw: Any, where: str) -> SimpleNamespace:
    fields = _mapping(raw, where)
    out: dict[str, Any] = {}
    for key, value in fields.items():
        if key not in PRICE_KEYS and key not in OMITTED_KEYS:
            raise _Wrong(f"{where}: the price {key} is not known")
        if not isinstance(value, dict):
            out[key] = None if value is None else _usd(value, f"{where}: {key}")
            continue
        tiers = [_mapping(one, where) for one in value.get("tiers") or ()]
        starts: list[Any] = [tier.get("start") for tier in tiers]
        if any(not isinstance(start, int) for start in starts) or starts != sorted(set(starts)):
            raise _Wrong(f"{where}: {key}: tiers must begin at rising counts of tokens")
        out[key] = SimpleNamespace(
            base=_usd(value.get("base"), f"{where}: {key}"),
            tiers=[
                SimpleNamespace(start=tier["start"], price=_usd(tier.get("price"), where))
                for tier in tiers
            ],
        )
    return SimpleNamespace(**out)


def _usd(value: Any, where: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise _Wrong(f"{where}: {value!r} is no price")
    price = Decimal(value)
    if not 0 <= price <= _DEAREST_USD or (price and price.adjusted() < -30):
        raise _Wrong(f"{where}: {value} USD is out of range")
    return price


def _rule(raw: Any, where: str) -> SimpleNamespace | None:
    if raw is None:
        return None
    fields = _mapping(raw, where)
    if len(fields) != 1:
        raise _Wrong(f"{where}: a match rule has one key")
    ((kind, value),) = fields.items()
    if kind in ("or", "and") and isinstance(value, list):
        return SimpleNamespace(**{f"{kind}_": [_rule(part, where) for part in value]})
    if kind not in _CLAUSES or not isinstance(value, str):
        raise _Wrong(f"{where}: the match rule {kind} is not known")
    return SimpleNamespace(**{kind: value})


def _mapping(raw: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(raw, dict):
        raise _Wrong(f"{where} is no mapping")
    return raw


def _text(fields: Mapping[str, Any], key: str, where: str) -> str:
    value = fields.get(key)
    if not isinstance(value, str) or not value:
        raise _Wrong(f"{where} has no {key}")
    return value


def _remark(fields: Mapping[str, Any]) -> str:
    return str(fields.get("price_comments") or "")


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _refused(path: Path, problem: str) -> PriceFileError:
    return PriceFileError(str(path), 1, "file", f"{problem}; nothing was changed")
