from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from costmeter.metrics.catalog import CATALOG, EXTENSIBLE, FAMILIES, Family
from costmeter.metrics.contract import LABELS
from costmeter.metrics.reference import group_of, main, render, unit_of

ROOT = Path(__file__).parents[2]


def test_the_committed_page_is_up_to_date() -> None:
    assert main(["--check"], ROOT) == 0


def test_check_writes_nothing_and_tells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"], tmp_path) == 1
    assert "run python -m costmeter.metrics.reference" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert main([], tmp_path) == 0
    assert main(["--check"], tmp_path) == 0
    page = tmp_path / "docs" / "metrics.md"
    page.write_text(page.read_text(encoding="utf-8") + "edited\n", encoding="utf-8")
    assert main(["--check"], tmp_path) == 1


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_each_family_has_one_row(family: Family) -> None:
    rows = [line for line in render().splitlines() if line.startswith(f"| `{family.name}` |")]
    assert len(rows) == 1
    assert family.help in rows[0]
    assert [f"`{label}`" in rows[0] for label in family.labels] == [True] * len(family.labels)
    assert (" \\+ |" in rows[0]) is (family.name in EXTENSIBLE)


def test_units() -> None:
    expected = {
        "llm_cost_total": "USD",
        "llm_budget_monthly": "USD",
        "llm_budget_exhaustion_timestamp_seconds": "Unix time in seconds",
        "llm_tokens_total": "tokens",
        "llm_requests_total": "calls",
        "gpu_energy_joules_total": "joules",
        "gpu_utilization_percent": "percent (0-100)",
        "costmeter_snapshot_age_seconds": "seconds",
        "costmeter_ledger_epoch": "number",
    }
    assert {name: unit_of(CATALOG[name]) for name in expected} == expected


def test_every_described_label_is_in_use() -> None:
    used = {label for family in FAMILIES for label in family.labels} | {"team", "feature"}
    assert set(LABELS) == used


def test_what_is_not_described_is_refused() -> None:
    family = FAMILIES[0]
    with pytest.raises(ValueError, match="the label colour has no meaning"):
        render([replace(family, labels=("colour",))])
    with pytest.raises(ValueError, match="other_cost begins with none of"):
        group_of(replace(family, name="other_cost"))


def test_links_of_the_contents_lead_to_headings() -> None:
    page = render()
    anchors = {
        re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^## (.+)$", page, re.MULTILINE)
    }
    links = re.findall(r"\]\(#([^)]+)\)", page)
    assert set(links) == anchors
    assert len(links) == len(anchors)


def test_the_prose_names_only_metrics_that_exist() -> None:
    mentioned = set(re.findall(r"\b(?:llm|gpu|costmeter)_[a-z_]+[a-z]\b", render()))
    unknown = mentioned - CATALOG.keys()
    assert unknown == {"llm_api", "gpu_compute", "gpu_model"}, "these are label names and values"
