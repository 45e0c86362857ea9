from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as text

from costmeter.metrics.catalog import CATALOG, FAMILIES, Family
from costmeter.metrics.text import Shape, decimal_text, header, named

COST = CATALOG["llm_cost_total"]

#: Whatever a provider, a tenant or an attacker may put into a label; UTF-8 has no surrogates.
label_values = st.text(st.characters(exclude_categories=["Cs"])) | st.text(
    st.sampled_from('\\"\n\r%sdb{}, a')
)
amounts = st.integers(-(2**63), 2**63 - 1)


def filled(
    shape: Shape, labels: tuple[tuple[str, ...], ...], values: tuple[int, ...], *, plain: bool
) -> bytes:
    return shape.lines(labels, plain) % shape.gaps(values, plain)


@given(amounts, st.sampled_from([0, 3, 9]))
def test_decimal_text_is_exact(value: int, decimals: int) -> None:
    written = decimal_text(value, decimals).decode()
    assert Decimal(written) == Decimal(value).scaleb(-decimals)
    assert "e" not in written.lower()


@pytest.mark.parametrize(
    ("value", "decimals", "expected"),
    [
        (1_234_567_890, 9, b"1.23456789"),
        (1, 9, b"0.000000001"),
        (-1, 9, b"-0.000000001"),
        (-2_500_000_000, 9, b"-2.5"),
        (3_000_000_000, 9, b"3"),
        (0, 9, b"0"),
        (100, 0, b"100"),
        (1_763_805_600_123, 3, b"1763805600.123"),
    ],
)
def test_decimal_text_is_what_people_write(value: int, decimals: int, expected: bytes) -> None:
    assert decimal_text(value, decimals) == expected


@given(amounts, st.sampled_from(["nano", "milli", "count"]))
def test_the_exponent_form_is_exact(value: int, scale: str) -> None:
    shape = Shape(Family("a", "gauge", (), "", scale), ())  # type: ignore[arg-type]
    line = filled(shape, ((),), (value,), plain=False)
    written = line.decode().removeprefix("a ").removesuffix("\n")
    decimals = {"nano": 9, "milli": 3, "count": 0}[scale]
    assert Decimal(written) == Decimal(value).scaleb(-decimals)


@given(st.lists(st.tuples(*[label_values] * 5), min_size=1, max_size=4), st.booleans(), st.data())
def test_labels_and_values_come_back_from_the_parsers(
    labels: list[tuple[str, ...]], plain: bool, data: st.DataObject
) -> None:
    values = data.draw(st.tuples(*[st.integers(0, 2**63 - 1)] * len(labels)))
    shape = Shape(COST, COST.labels)
    page = filled(shape, tuple(labels), values, plain=plain)
    expected = [
        (COST.name, dict(zip(COST.labels, row, strict=True)), value / 10**9)
        for row, value in zip(labels, values, strict=True)
    ]
    for parse, start, end in (
        (text, header(COST, openmetrics=False), b""),
        (openmetrics, header(COST, openmetrics=True), b"# EOF\n"),
    ):
        if len(set(labels)) < len(labels) and parse is openmetrics:
            continue  # its parser refuses a repeated series, which the ledger never has
        (family,) = parse((start + page + end).decode())
        assert [(s.name, s.labels, s.value) for s in family.samples] == expected


def test_specials_are_escaped_exactly() -> None:
    shape = Shape(Family("a", "gauge", ("x",), ""), ("x",))
    labels = (('back\\slash "quoted"\nnext 100%d',),)
    written = b'a{x="back\\\\slash \\"quoted\\"\\nnext 100%d"} 7\n'
    assert filled(shape, labels, (7,), plain=True) == written
    assert filled(shape, labels, (7,), plain=False) == written


def test_a_lone_surrogate_does_not_stop_the_page() -> None:
    shape = Shape(Family("a", "gauge", ("x",), ""), ("x",))
    assert filled(shape, (("\ud800",),), (7,), plain=False) == b'a{x="?"} 7\n'


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("count", [0, 4, 6])
def test_series_that_have_not_the_familys_labels_are_refused(plain: bool, count: int) -> None:
    with pytest.raises(TypeError):
        Shape(COST, COST.labels).lines((("value",) * count,), plain)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_headers_name_the_family_as_each_format_does(family: Family) -> None:
    (in_text,) = text(header(family, openmetrics=False).decode())
    (in_openmetrics,) = openmetrics(header(family, openmetrics=True).decode() + "# EOF\n")
    bare = family.name.removesuffix("_total")
    assert in_openmetrics.name == bare
    assert (in_text.name, in_text.type) == (bare, family.kind)
    assert in_text.documentation == in_openmetrics.documentation == family.help


def test_help_is_escaped() -> None:
    family = Family("a", "gauge", (), 'a "quoted" \\ and\nnew line')
    assert header(family, openmetrics=False) == (
        b'# HELP a a "quoted" \\\\ and\\nnew line\n# TYPE a gauge\n'
    )
    assert header(family, openmetrics=True) == (
        b'# HELP a a \\"quoted\\" \\\\ and\\nnew line\n# TYPE a gauge\n'
    )


def test_name_filter_takes_samples_and_families() -> None:
    assert named(COST, frozenset({"llm_cost_total"}))
    assert named(COST, frozenset({"llm_cost", "other"}))
    assert not named(COST, frozenset({"llm_cost_tot", "cost_total", "llm_cost_credit_total"}))
