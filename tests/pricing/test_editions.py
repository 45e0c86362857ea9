"""Catalogues through time: a newer one holds from its instant on and rewrites nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from costmeter.pricing import PriceBook, PriceFileError, load_price_book
from costmeter.pricing.catalogue import Catalogue, day_ms
from costmeter.pricing.editions import Edition, Editions, file_name, read_updates
from costmeter.pricing.incoming import read_catalogue
from faults.ledgers import labels

DAY = day_ms("2026-06-01")
BEFORE, AFTER = DAY - 1, DAY


def catalogue(**models: dict[str, object]) -> Catalogue:
    """A provider `shop` whose models cost what they say, in nano-USD per million."""
    entries = [
        {"id": name, "match": {"equals": name}, "prices": [{"usd": figures}]}
        for name, figures in models.items()
    ]
    shop = {
        "id": "shop", "provider_match": None, "model_match": None, "fallback": [],
        "models": entries,
    }  # fmt: skip
    data = {"source": "a list", "as_of": "2026-05-01", "providers": [shop]}
    return Catalogue(json.dumps({**data, "figures": json.dumps(entries)}).encode())


def book(old: Catalogue, *newer: tuple[int, Catalogue]) -> PriceBook:
    return PriceBook(Editions(old, [Edition(*one) for one in newer]))


def price(found: PriceBook, model: str, at_ms: int, unit: str = "input") -> int | None:
    rate = found.rate(labels(provider="shop", model=model), at_ms, "standard", {unit: 1})
    return None if rate is None else rate.prices.get(unit)


def test_a_new_price_holds_from_its_instant_on() -> None:
    found = book(catalogue(m={"input": 5}), (DAY, catalogue(m={"input": 7})))
    # Asked in either order: what is remembered holds only in its own time.
    assert [price(found, "m", at) for at in (AFTER, BEFORE, AFTER, BEFORE)] == [7, 5, 7, 5]
    rate = found.rate(labels(provider="shop", model="m"), AFTER, "standard", {"input": 1})
    assert rate is not None
    assert rate.valid_from == "2026-06-01"


def test_what_nobody_could_price_before_is_priced_by_the_newer_one() -> None:
    found = book(catalogue(m={"input": 5}), (DAY, catalogue(n={"input": 7})))
    assert price(found, "n", BEFORE) == 7


def test_what_the_newer_one_dropped_keeps_its_price() -> None:
    found = book(catalogue(m={"input": 5}), (DAY, catalogue(n={"input": 7})))
    assert price(found, "m", AFTER) == 5


def test_three_editions_follow_each_other() -> None:
    later = DAY + 86_400_000
    found = book(
        catalogue(m={"input": 5}), (later, catalogue(m={"input": 9})),
        (DAY, catalogue(m={"input": 7})),
    )  # fmt: skip
    assert [price(found, "m", at) for at in (BEFORE, AFTER, later - 1, later)] == [5, 7, 7, 9]


def test_the_revision_changes_with_an_edition_and_with_its_instant() -> None:
    old, new = catalogue(m={"input": 5}), catalogue(m={"input": 7})
    told = {book(old).revision, book(old, (DAY, new)).revision, book(old, (DAY + 1, new)).revision}
    assert len(told) == 3


def test_models_are_listed_once() -> None:
    found = book(catalogue(m={"input": 5}), (DAY, catalogue(m={"input": 7}, n={"input": 1})))
    assert sorted(found.models()) == [("shop", "m"), ("shop", "n")]


def genai(**changes: object) -> list[dict[str, object]]:
    """The shape of genai-prices' own data file."""
    model: dict[str, object] = {
        "id": "m-1", "match": {"starts_with": "m-1"}, "context_window": 1000,
        "prices": [
            {"prices": {"input_mtok": 0.1, "output_mtok": {"base": 2, "tiers": [
                {"start": 100, "price": 4.5}]}}},
            {"constraint": {"start_date": "2026-02-01"}, "prices": {"input_mtok": 0.3}},
        ],
        "price_variants": [
            {"when": {"processing": "batch"}, "prices": {"input_mtok": 0.05}},
        ],
    }  # fmt: skip
    return [{"id": "shop", "name": "Shop", "models": [{**model, **changes}]}]


def read(folder: Path, data: object, name: str = "data_2026-03-04.json") -> Catalogue:
    path = folder / name
    path.write_text(json.dumps(data))
    return Catalogue(read_catalogue(path))


def test_a_data_file_is_read_with_exact_decimals(tmp_path: Path) -> None:
    found = PriceBook(read(tmp_path, genai()))
    march, january = day_ms("2026-03-01"), day_ms("2026-01-01")
    assert price(found, "m-1-x", january) == 100_000_000  # 0.1 USD, though no float is
    assert price(found, "m-1-x", march) == 300_000_000
    who = labels(provider="shop", model="m-1")
    rate = found.rate(who, january, "standard", {"input": 101, "output": 1})
    assert rate is not None
    assert rate.prices["output"] == 4_500_000_000
    batch = found.rate(who, january, "batch", {"input": 1})
    assert batch is not None
    assert batch.prices["input"] == 50_000_000


def test_when_it_was_read_comes_from_remarks_then_from_the_name(tmp_path: Path) -> None:
    assert read(tmp_path, genai()).as_of == "2026-03-04"
    told = genai(price_comments="page checked on 2026-02-03")
    assert read(tmp_path, told).as_of == "2026-02-03"
    with pytest.raises(PriceFileError, match="--as-of"):
        read(tmp_path, genai(), "data.json")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"prices": {"input_mtok": -1}}, "out of range"),
        ({"prices": {"input_mtok": "3"}}, "is no price"),
        ({"prices": {"input_mtok": 1e7}}, "out of range"),
        ({"prices": {"input_gtok": 1}}, "input_gtok is not known"),
        ({"prices": {"input_mtok": {"base": 1, "tiers": [{"start": 9, "price": 1},
                                                         {"start": 3, "price": 1}]}}}, "rising"),
        ({"match": {"sounds_like": "m"}}, "sounds_like is not known"),
        ({"match": {"regex": "("}}, "m-1"),
        ({"prices": [{"constraint": {"moon": "full"}, "prices": {}}]}, "moon is not known"),
        ({"price_variants": [{"when": {"mood": "good"}, "prices": {}}]}, "unknown context"),
        ({"context_window": "big"}, "no count of tokens"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_and_the_file_refused(
    tmp_path: Path, changes: dict[str, object], problem: str
) -> None:
    with pytest.raises(PriceFileError, match="nothing was changed") as caught:
        read(tmp_path, genai(**changes))
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"figures": 1}', "[1]", "[NaN]", '[{"id": "x"}]', "[" * 10_000]
)
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "data_2026-03-04.json"
    path.write_text(text)
    with pytest.raises(PriceFileError, match="nothing was changed"):
        read_catalogue(path)


def test_the_package_s_own_catalogue_passes(tmp_path: Path) -> None:
    from importlib.resources import files

    own = (files("costmeter.pricing") / "data" / "llm_prices.json").read_bytes()
    path = tmp_path / "own.json"
    path.write_bytes(own)
    assert read_catalogue(path) == own


def test_a_folder_of_updates(tmp_path: Path) -> None:
    assert read_updates(tmp_path / "none") == []
    assert file_name(DAY) == "catalogue-20260601T000000Z.json"
    source = tmp_path / "data_2026-03-04.json"
    source.write_text(json.dumps(genai()))
    folder = tmp_path / "updates"
    folder.mkdir()
    (folder / file_name(DAY)).write_bytes(read_catalogue(source))
    (edition,) = read_updates(folder)
    assert (edition.from_ms, edition.catalogue.as_of) == (DAY, "2026-03-04")
    assert price(load_price_book((), folder), "m-1", AFTER) == 300_000_000
    (folder / "catalogue-soon.json").write_text("{}")
    with pytest.raises(PriceFileError, match="update again"):
        read_updates(folder)
