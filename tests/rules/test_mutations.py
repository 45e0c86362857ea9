"""Whether the promtool cases can fail: every rule is loosened in one place and one must notice."""

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from costmeter.metrics.catalog import CATALOG
from rules.tools import LOADER, case_files, load, promtool, rule_files

pytestmark = pytest.mark.slow


class Mutation(NamedTuple):
    """Replace `old` by `new` in a rule file; a case whose name starts with `cases` must fail."""

    file: str
    cases: str
    old: str
    new: str


REPLICAS = "without (instance, pod, replica, node, container, endpoint)"


def _clamped(family: str) -> list[Mutation]:
    """Ways to break the clamped record of a counter: no hold, no record, no fold."""
    series = f"{'budget' if 'budget' in family else 'series'}:{family}:clamped"
    hold = f"last_over_time({series}[10m])\n              and"
    fold = f"or\n          max {REPLICAS} ({family})"
    edits = [
        (hold, f"{series} > 1e15\n              and"),
        (f"record: {series}\n", f"record: other:{family}:clamped\n"),
        (fold, f"or\n          {family}"),
    ]
    return [Mutation("recording", "recording: failover", old, new) for old, new in edits]


LEDGER_COUNTERS = sorted(
    family.name
    for family in CATALOG.values()
    if family.kind == "counter" and family.source == "ledger"
)
ALL = [mutation for family in LEDGER_COUNTERS for mutation in _clamped(family)]
ALL += [Mutation(**entry) for entry in load(Path(__file__).with_name("mutations.yml"))]


def _alone(text: str, alert: str) -> str:
    """The rules of one alert, which stand together, for edits inside them only."""
    name = f"- alert: {alert}\n"
    start = text.find(name)
    if start == -1:
        return ""
    end = text.find("- alert: ", text.rfind(name) + 1)
    return text[start : end if end != -1 else len(text)]


def _pruned(files: dict[str, Any], wanted: str) -> dict[str, Any]:
    """The rules without the records that `wanted` needs neither directly nor through others."""
    records = {
        rule["record"]: rule["expr"]
        for document in files.values()
        for group in document["groups"]
        for rule in group["rules"]
        if "record" in rule
    }
    needed: set[str] = set()
    texts = [wanted]
    while texts:
        text = texts.pop()
        new = {name for name in records if name in text} - needed
        needed |= new
        texts += [records[name] for name in new]
    for document in files.values():
        for group in document["groups"]:
            group["rules"] = [r for r in group["rules"] if "alert" in r or r["record"] in needed]
    return files


@pytest.mark.parametrize("mutation", ALL, ids=lambda m: f"{m.cases}: {m.new.strip() or 'cut'}"[:90])
def test_some_case_notices(mutation: Mutation, tmp_path: Path) -> None:
    texts = {path.name: path.read_text() for path in rule_files()}
    name = f"{mutation.file}.rules.yml"
    place = texts[name] if mutation.file == "recording" else _alone(texts[name], mutation.cases)
    assert mutation.old in place, "the rule has changed: mend this mutation"
    texts[name] = texts[name].replace(place, place.replace(mutation.old, mutation.new))

    suites = {}
    for path in case_files():
        suite = load(path)
        chosen = [case for case in suite["tests"] if case["name"].startswith(mutation.cases)]
        if chosen:
            suites[path.name] = {**suite, "tests": chosen}
    wanted = str(suites) + _alone("".join(texts.values()), mutation.cases)
    files = _pruned({key: yaml.load(text, Loader=LOADER) for key, text in texts.items()}, wanted)
    for key, document in files.items():
        (tmp_path / key).write_text(yaml.safe_dump(document))
    checked = promtool("check", "rules", str(tmp_path / name))
    assert checked.returncode == 0, f"the mutation is not a valid rule: {checked.stderr}"

    (tmp_path / "tests").mkdir()
    for key, suite in suites.items():
        (tmp_path / "tests" / key).write_text(yaml.safe_dump(suite))
    results = (promtool("test", "rules", str(tmp_path / "tests" / key)) for key in suites)
    assert any(result.returncode != 0 for result in results), "no case noticed"
