"""Generates docs/metrics.md from the catalog.

    python -m costmeter.metrics.reference [--check]

`--check` writes nothing and fails when the file is not up to date.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from costmeter.metrics.catalog import EXTENSIBLE, FAMILIES, Family
from costmeter.metrics.contract import HEAD, LABELS, PROMISE, RULES

#: Sections in the order of the page, each for the names that begin so; the longest start wins.
GROUPS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "llm_cost_": ("Spend", "US dollars, by who spent them on what."),
        "llm_": ("Calls and tokens", "What was used, priced or not."),
        "llm_budget_": (
            "Budgets",
            "One set for each budget; `llm_budget_monthly` is the one of the whole ledger.",
        ),
        "gpu_": (
            "GPUs",
            "From the sampler on the machine itself. A GPU that does not answer has no values.",
        ),
        "costmeter_": (
            "The exporter's own health",
            "These are shown even when the ledger's figures are not.",
        ),
        "costmeter_agent_": (
            "The agent's own health",
            "Shown by `costmeter agent`; see [the agent](agent.md).",
        ),
    }
)

#: Units by the last word of a name (without `_total`), longest first where they overlap.
_UNITS: tuple[tuple[str, str], ...] = (
    ("_cost_per_million_tokens", "USD a million tokens"),
    ("_joules_per_token", "joules a token"),
    ("_requests_per_gpu_hour", "calls a GPU-hour"),
    ("_timestamp_seconds", "Unix time in seconds"),
    ("_seconds", "seconds"),
    ("_bytes", "bytes"),
    ("_joules", "joules"),
    ("_usd", "USD"),
    ("_usd_per_hour", "USD an hour"),
    ("_grams", "grams"),
    ("_watts", "watts"),
    ("_celsius", "°C"),
    ("_hertz", "Hz"),
    ("_bytes_per_second", "bytes a second"),
    ("_percent", "percent (0-100)"),
    ("_ratio", "ratio (0-1)"),
    ("_requests", "calls"),
    ("_tokens", "tokens"),
    ("_events", "events"),
)


def unit_of(family: Family) -> str:
    """The unit that a reader sees, from the scale and the name; "number" for a bare count."""
    if family.scale == "nano":
        return "USD"
    name = family.name.removesuffix("_total")
    return next((unit for ending, unit in _UNITS if name.endswith(ending)), "number")


def group_of(family: Family) -> str:
    """The key of GROUPS under which the family is described; ValueError when there is none."""
    starts = [start for start in GROUPS if family.name.startswith(start)]
    if not starts:
        raise ValueError(
            f"{family.name} begins with none of {', '.join(GROUPS)}: add its group to GROUPS"
        )
    return max(starts, key=len)


def render(families: Sequence[Family] = FAMILIES) -> str:
    """The text of docs/metrics.md; ValueError when a family or a label is not described."""
    by_group: dict[str, list[Family]] = {start: [] for start in GROUPS}
    for family in families:
        by_group[group_of(family)].append(family)
    sections = [_section(*GROUPS[start], members) for start, members in by_group.items()]
    body = "\n".join([*sections, _labels(families), RULES, PROMISE])
    headings = [line[3:] for line in body.splitlines() if line.startswith("## ")]
    contents = "".join(f"- [{heading}](#{_anchor(heading)})\n" for heading in headings)
    return f"{HEAD}\n{contents}\n{body}"


def _anchor(heading: str) -> str:
    """The anchor that code hosts give a heading."""
    return re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")


def _section(title: str, text: str, families: Sequence[Family]) -> str:
    rows = "".join(
        f"| `{family.name}` | {family.kind} | {unit_of(family)} | {_labels_of(family)} |"
        f" {_cell(family.help)} |\n"
        for family in families
    )
    note = ""
    if any(family.name in EXTENSIBLE for family in families):
        note = "\n\\+ `team` and `feature`, those of them that `ledger.extra_labels` turns on.\n"
    return (
        f"## {title}\n\n{text}\n\n"
        f"| metric | type | unit | labels | meaning |\n|---|---|---|---|---|\n{rows}{note}"
    )


def _labels_of(family: Family) -> str:
    listed = ", ".join(f"`{label}`" for label in family.labels) or "none"
    return f"{listed} \\+" if family.name in EXTENSIBLE else listed


def _labels(families: Sequence[Family]) -> str:
    used = {label for family in families for label in family.labels} | {"team", "feature"}
    if unknown := sorted(used - LABELS.keys()):
        raise ValueError(f"the label {unknown[0]} has no meaning: describe it in contract.LABELS")
    rows = "".join(
        f"| `{label}` | {_cell(text)} |\n" for label, text in LABELS.items() if label in used
    )
    return f"## Labels\n\n| label | meaning |\n|---|---|\n{rows}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main(arguments: Sequence[str] | None = None, root: Path | None = None) -> int:
    """Write the page, or with `--check` compare it; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m costmeter.metrics.reference")
    parser.add_argument("--check", action="store_true", help="fail when the page is out of date")
    options = parser.parse_args(arguments)
    path = (root or Path(__file__).parents[3]) / "docs" / "metrics.md"
    text = render()
    if not options.check:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return 0
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return 0
    sys.stderr.write(f"{path} is not up to date: run python -m costmeter.metrics.reference\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
