"""The page about GPUs names the catalog's families, all of them and no others."""

from __future__ import annotations

import re

import promql_parser

from costmeter.metrics.catalog import FAMILIES
from fakes.nvml.lab import PROJECT

PAGE = (PROJECT / "docs/gpu.md").read_text()


def test_the_page_names_exactly_the_families_of_the_catalog() -> None:
    families = {family.name for family in FAMILIES if family.source == "gpu"}
    named = set(re.findall(r"\b(gpu_[a-z0-9_]+)\b", PAGE)) - {
        "gpu_model",
        "gpu_compute",
        "gpu_utilization_ratio_bucket",
    }
    assert named == families


def test_its_queries_are_promql() -> None:
    queries = re.findall(r"```promql\n(.*?)```", PAGE, flags=re.DOTALL)
    assert len(queries) == 3
    for query in queries:
        promql_parser.parse(query)
