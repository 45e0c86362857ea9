"""The JSON Schema: never stricter than the loader, and it knows keys, types and words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from config.test_fuzz import likely, structures
from config.test_mistakes import ONE_LINE
from costmeter.config import ConfigError, json_schema, kinds, load_config
from costmeter.config.default_file import default_text
from costmeter.config.document import parse_document
from costmeter.config.examples import BUDGETS, SCOPES
from costmeter.config.nodes import Listing, Node, Scalar, Table
from costmeter.config.problems import Reading, Wrong
from costmeter.config.records import ListOf, Records, Section
from costmeter.config.schema import Config
from costmeter.config.spec import Setting, settings_of

SCHEMA = json_schema.schema()
VALIDATOR = Draft202012Validator(SCHEMA)

_INTEGER = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_BASES = {"0o": 8, "0x": 16}


def plain(node: Node | None) -> Any:
    """A document as an editor sees it: the core schema of YAML 1.2."""
    match node:
        case Table():
            return {word.text: plain(inner) for word, inner in node.entries}
        case Listing():
            return [plain(item) for item in node.items]
        case Scalar() if node.quoted:
            return node.text
        case Scalar() if node.is_boolean:
            return node.text.lower() == "true"
        case Scalar() if not node.is_null:
            return _scalar(node.text)
    return None


def _scalar(text: str) -> int | float | str:
    if _INTEGER.fullmatch(text):
        return int(text)
    base = _BASES.get(text[:2])
    if base and re.fullmatch("[0-7]+" if base == 8 else "[0-9a-fA-F]+", text[2:]):
        return int(text[2:], base)
    if _FLOAT.fullmatch(text) or re.fullmatch(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", text):
        return float(text.replace(".inf", "inf").replace(".nan", "nan"))
    return text


def document(text: str) -> Any:
    reading = Reading()
    node = parse_document(text, "c.yml", Path(), reading)
    reading.raise_problems()
    return plain(node)


def refused_by_schema(text: str) -> bool:
    return not VALIDATOR.is_valid(document(text))


def refused_by_loader(text: str, folder: Path) -> bool:
    path = folder / "c.yml"
    path.write_text(text, "utf-8")
    try:
        load_config(path, {})
    except ConfigError:
        return True
    return False


# The file


def test_it_is_a_schema_and_up_to_date() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert json_schema.main(["--check"]) == 0


def test_a_stale_file_fails_the_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert json_schema.main(["--check"], tmp_path) == 1
    assert "costmeter.schema.json is stale" in capsys.readouterr().err
    assert json_schema.main([], tmp_path) == 0
    assert json_schema.main(["--check"], tmp_path) == 0
    written = json.loads((tmp_path / json_schema.FILE).read_text("utf-8"))
    assert written == SCHEMA


def test_every_setting_is_described() -> None:
    def walk(found: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for inner in found.get("properties", {}).values():
            yield inner
            yield from walk(inner)
            yield from walk(inner.get("items", {}))

    described = list(walk(SCHEMA))
    assert len(described) > 60
    assert all(item["description"] for item in described)
    for item in described:
        if "default" in item:
            assert Draft202012Validator(item).is_valid(item["default"]), item


# What is right


def test_right_configurations_pass() -> None:
    indented = "".join(f"    {line}\n" for line in BUDGETS.splitlines())
    for text in (
        "",
        default_text(),
        f"budgets:\n  items:\n{indented}scopes:\n{SCOPES}",
        "include: [a.yml, b.yml]\nledger:\n",
        "x: &a {level: debug}\n".replace("x", "log"),
        "budgets:\n  items:\n    - &b {name: a, limit_usd: 1}\n    - {<<: *b, name: b}\n",
        "gpu: {enabled: false}",
        "gpu: {enabled: 'FALSE'}",
    ):
        assert not refused_by_schema(text), text


# What is wrong

#: Mistakes that a schema cannot see: zones, files, several values together, YAML itself,
#: and 7.0, which JSON Schema counts as whole.
UNSEEN = (
    "Europe/Berln",
    "per_label: {model: 2}",
    "queue_events: 499",
    "segment_seconds: 5",
    "log: {level: info}\nweb: {}\nlog",
    "\tlevel",
    "\n---\n",
    "!!python",
    "nowhere.yml",
    "config_file: .",
    "missing.yml",
    "open_window_days: 7.0",
)
STRUCTURAL = [text for text, _ in ONE_LINE if not any(mark in text for mark in UNSEEN)]


@pytest.mark.parametrize("text", STRUCTURAL)
def test_structural_mistakes_fail(text: str) -> None:
    assert refused_by_schema(text)


def test_most_of_the_mistakes_are_structural() -> None:
    assert len(ONE_LINE) - len(STRUCTURAL) == len(UNSEEN)


def paths(
    record: type[Any], before: str = "{", after: str = "}"
) -> Iterator[tuple[Setting, str, str]]:
    """Every setting with the flow YAML before and after its value."""
    for setting in settings_of(record).values():
        left, right = f"{before}{setting.key}: ", after
        yield setting, left, right
        kind = setting.kind
        if isinstance(kind, Section):
            yield from paths(kind.record, f"{left}{{", f"}}{right}")
        elif isinstance(kind, Records):
            others = settings_of(kind.record).values()
            needed = [item.key for item in others if item.required]
            for inner, inner_left, inner_right in paths(kind.record, f"{left}[{{", f"}}]{right}"):
                rest = "".join(f"{key}: 1, " for key in needed if f"{{{key}: " not in inner_left)
                yield inner, inner_left.replace("[{", f"[{{{rest}", 1), inner_right


PATHS = list(paths(Config))
WRONG_TYPES = {"a list": "[a]", "a mapping": "{a: b}", "truth": "true", "nothing": "null"}


def wrong_types(setting: Setting) -> Iterator[str]:
    kind = setting.kind
    if isinstance(kind, Section):
        yield from ("[a]", "[]", "a", "1", "true", "''")
        if any(item.required for item in settings_of(kind.record).values()):
            yield "null"
    elif isinstance(kind, Records | ListOf):
        yield from ("{a: b}", "{}", "a", "1", "true", "''")
        yield "[[a]]"
    else:
        yield from ("[a]", "[]", "{a: b}", "{}")
        if not kind.takes_boolean:
            yield "true"
        if not kind.takes_null:
            yield "null"


def test_wrong_types_and_keys_fail_both(tmp_path: Path) -> None:
    for setting, left, right in PATHS:
        wrong = list(wrong_types(setting))
        if isinstance(setting.kind, Section):
            wrong += ["{nonsense: 1}", "{nonsense: {}}"]
        if isinstance(setting.kind, Records):
            wrong += ["[a]", "[1]", "[[]]", "[{nonsense: 1}]"]
        for value in wrong:
            text = f"{left}{value}{right}"
            assert refused_by_loader(text, tmp_path), text
            assert refused_by_schema(text), text


def test_what_is_missing_and_wrong_includes_fail_both(tmp_path: Path) -> None:
    for text in (
        "{budgets: {items: [{name: a}]}}",
        "{budgets: {items: [{limit_usd: 1}]}}",
        "{budgets: {items: [null]}}",
        "{scopes: [{}]}",
        "{include: a.yml}",
        "{include: [[a.yml]]}",
        "{include: {a: b}}",
        "{include: [true]}",
    ):
        assert refused_by_loader(text, tmp_path), text
        assert refused_by_schema(text), text


def test_words_and_ranges_fail_both(tmp_path: Path) -> None:
    families = {
        kinds.Choice, kinds.Whole, kinds.OneOf, kinds.Exact, kinds.Amount, kinds.Switch,
    }  # fmt: skip
    seen: set[type[kinds.Kind[Any]]] = set()
    for setting, left, right in PATHS:
        match setting.kind:
            case kinds.Choice():
                wrong = ["nonsense", "1"]
            case kinds.Whole():
                wrong = [str(setting.kind._least - 1), str(setting.kind._most + 1), "x", "0.5"]
            case kinds.OneOf():
                wrong = ["61", "x"]
            case kinds.Exact() | kinds.Amount():
                wrong = ["-1", "9000000001", "x", "'1e3'"]
                wrong += [] if getattr(setting.kind, "_zero", False) else ["0"]
            case kinds.Switch():
                wrong = ["1", "nonsense"]
            case _:
                continue
        seen.update(kind for kind in families if isinstance(setting.kind, kind))
        for value in wrong:
            text = f"{left}{value}{right}"
            assert refused_by_loader(text, tmp_path), text
            assert refused_by_schema(text), text
    assert seen == families


# Never stricter than the loader

#: Values as people and their editors write them, and as YAML tells them apart.
TEXTS = [
    *("", "''", "~", "null", "'null'", "NULL", "true", "'true'", "TRUE", "'TrUe'", "False", "yes"),
    *("auto", "AUTO", "'Auto'", "a", "b c", "any", "default", "UTC", "Europe/Berlin", "07", "007"),
    *("0", "'0'", "1", "'1'", "+1", "-1", "7", "'7'", "15", "60", "'60'", "60.0", "61", "90", "91"),
    *("1_000", "'1_000'", "10_00", "0x1F", "0o17", "1e3", "'1e3'", "1.5", "0.5", "'0.5'", ".5"),
    *("1.", "100", "100.0", "0.000000001", "0.0000000001", "9000000000", "9000000000.000000000"),
    *("123456789012345678901234567890", "0." + "0" * 29 + "1", "1." + "0" * 30, ".inf", ".nan"),
    *("04:00", "'04:00'", "24:00", "12:30:45", "localhost:80", ":9952", "':80'", "2026-01-01"),
    *("debug", "json", "month", "team", "on_demand", "llm_api", '"\\n"', '"a\\nb"', "'a/b'", "."),
    *("🙂", "'🙂'", "é", "x" * 256, f"'{'🙂' * 256}'", "*", '"*"', "[]", "[team]", "[1, 1.0]"),
    *("[a, a]", "[a, b]", "[1, '1']", "['', a]", "[null]", "{}", "[{}]", "[a, 'A']"),
]


@pytest.mark.slow
def test_what_the_loader_takes_passes(tmp_path: Path) -> None:
    taken = 0
    for _, left, right in PATHS:
        for value in TEXTS:
            text = f"{left}{value}{right}"
            reading = Reading()
            node = parse_document(text, "c.yml", tmp_path, reading)
            if node is None:
                continue
            try:
                Section(Config).read(node, "", reading)
            except Wrong:
                continue
            if not reading.problems:
                taken += 1
                assert VALIDATOR.is_valid(plain(node)), text
    assert taken > 20 * len(PATHS)


@settings(deadline=None, max_examples=100)
@given(st.one_of(likely(Config), structures))
def test_what_the_schema_refuses_the_loader_refuses(structure: object) -> None:
    text = json.dumps(structure)
    reading = Reading()
    node = parse_document(text, "c.yml", Path(), reading)
    if reading.problems or VALIDATOR.is_valid(plain(node)):
        return
    try:
        # Without what more than one value decides: those are the loader's alone.
        Section(Config).read(node or Table(reading.place_of("")), "", reading)
    except Wrong:
        return
    assert reading.problems, text


def right_values(setting: Setting) -> st.SearchStrategy[str]:
    """Values of the right form, as flow YAML."""
    kind = setting.kind
    match kind:
        case Section():
            return right_table(kind.record)
        case Records():
            return st.lists(right_table(kind.record), max_size=2).map(_flow_list)
        case ListOf():
            return st.lists(right_values(_setting_of(kind)), max_size=3, unique=True).map(
                _flow_list
            )
        case kinds.Choice():
            return st.sampled_from(kind._options)
        case kinds.OneOf():
            return st.sampled_from(list(kind._options))
        case kinds.Switch():
            return st.sampled_from(["true", "False", "'TRUE'"])
        case kinds.Whole():
            return st.integers(kind._least, kind._most).map(str)
        case kinds.Exact() | kinds.Amount():
            amounts = st.decimals(Decimal("0.01"), 1, places=6, allow_nan=False)
            return amounts.map(lambda value: f"{value:f}")
        case kinds.Zone():
            return st.sampled_from(["UTC", "Asia/Kolkata", "America/Argentina/Ushuaia"])
        case kinds.Pattern():
            words = ["a", "b1", "localhost:80", "04:30", "prod", "7", "x.y-z", "costs=false"]
            words += ["https://x.example", "EUR", "2026-01-31", "GPU-1"]
            fitting = [word for word in words if kind._pattern.fullmatch(word)]
            return st.sampled_from(fitting).map(json.dumps)
    return st.sampled_from(["a", "b/c.yml", "7"])


def _setting_of(kind: ListOf) -> Setting:
    return Setting(kind._kind, "")


def _flow_list(values: list[str]) -> str:
    return f"[{', '.join(values)}]"


def right_table(record: type[Any]) -> st.SearchStrategy[str]:
    known = settings_of(record).values()
    needed = {item.key: right_values(item) for item in known if item.required}
    others = {item.key: right_values(item) for item in known if not item.required}
    tables = st.fixed_dictionaries(needed, optional=others)
    return tables.map(lambda t: f"{{{', '.join(f'{key}: {text}' for key, text in t.items())}}}")


@settings(deadline=None, max_examples=60)
@given(right_table(Config))
def test_settings_of_the_right_form_pass(text: str) -> None:
    assert not refused_by_schema(text)
