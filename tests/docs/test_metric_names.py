"""Every metric that the documentation names is in the catalog or is recorded by the rules."""

import re
from pathlib import Path

import pytest
import yaml

from costmeter.metrics.catalog import FAMILIES
from costmeter.model import UNIT_CLASSES
from docs.pages import PAGES, ROOT, RUNBOOKS

#: The name of a whole metric; `llm_*`, `costmeter_…` and paths are none, and a name with a
#: colon is that of a recorded series.
_NAME = re.compile(r"(?<![\w/:.-])(?:costmeter|llm|gpu)_[a-z0-9_]*[a-z0-9](?![\w/:*…-])(?!\.\w)")
#: Fields of events, units of quantity and kinds of sources that look like metrics.
_NOT_METRICS = {
    "llm_api", "gpu_compute", "gpu_model", "gpu_prices", "gpu_scrape", "gpu_segments", "llm_prices",
    *UNIT_CLASSES,
}  # fmt: skip
#: What a histogram is asked by.
_BUCKETS = {f"{family.name}_bucket" for family in FAMILIES if family.kind == "histogram"}


def unknown(text: str) -> set[str]:
    """Names in `text` that no family has."""
    known = {family.name for family in FAMILIES} | _BUCKETS | _NOT_METRICS
    return set(_NAME.findall(text)) - known


@pytest.mark.parametrize("page", [*PAGES, *RUNBOOKS], ids=lambda page: str(page.relative_to(ROOT)))
def test_metrics_exist(page: Path) -> None:
    assert unknown(page.read_text("utf-8")) == set()


def test_recorded_series_exist() -> None:
    recorded = {
        rule["record"]
        for path in (ROOT / "alert_rules").glob("*.rules.yml")
        for group in yaml.safe_load(path.read_text("utf-8"))["groups"]
        for rule in group["rules"]
        if "record" in rule
    }
    named = re.compile(r"(?<![\w:/])[a-z]+:(?:llm|gpu|costmeter)_[a-z0-9_]+:[a-z0-9_]+")
    for page in (*PAGES, *RUNBOOKS):
        assert set(named.findall(page.read_text("utf-8"))) <= recorded, page.name


def test_a_wrong_name_is_found() -> None:
    assert unknown("`llm_cost_totals`, `costmeter_up{a=1}`, llm_cost_total, `llm_*`") == {
        "llm_cost_totals",
        "costmeter_up",
    }
