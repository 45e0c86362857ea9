"""YAML as it is written: lines, texts of numbers, anchors, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from costmeter.config import Config
from costmeter.config.document import LOADER, Listing, Node, Scalar, Table, parse_document
from costmeter.config.problems import Reading

Load = Callable[..., Config]
Refuse = Callable[..., list[str]]
LOADERS: list[type] = [yaml.SafeLoader] if LOADER is yaml.SafeLoader else [LOADER, yaml.SafeLoader]
LOADERS_NAMED = pytest.mark.parametrize("loader", LOADERS, ids=lambda loader: loader.__name__)


def parse(text: str, loader: type = LOADER) -> tuple[Node | None, list[str]]:
    reading = Reading()
    node = parse_document(text, "t", Path(), reading, loader=loader)
    return node, [str(problem) for problem in reading.problems]


def plain(node: Node) -> object:
    if isinstance(node, Scalar):
        return node.text
    if isinstance(node, Listing):
        return [plain(item) for item in node.items]
    return [(key.text, plain(item)) for key, item in node.entries]


@LOADERS_NAMED
def test_texts_lines_and_quotes(loader: type) -> None:
    node, problems = parse("a: 0.10\nb: '0.10'\nc:\n  - 007\n  - |\n    true\n", loader)
    assert problems == []
    assert isinstance(node, Table)
    assert plain(node) == [("a", "0.10"), ("b", "0.10"), ("c", ["007", "true\n"])]
    a, b, c = (item for _, item in node.entries)
    assert isinstance(a, Scalar)
    assert isinstance(b, Scalar)
    assert (a.quoted, b.quoted) == (False, True)
    assert isinstance(c, Listing)
    assert [item.place.line for item in c.items] == [4, 5]


@LOADERS_NAMED
@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n", "---\n", "---\n...\n", "~", "null"])
def test_nothing_is_nothing(text: str, loader: type) -> None:
    assert parse(text, loader) == (None, [])


@LOADERS_NAMED
def test_anchors_aliases_and_merge_keys(loader: type) -> None:
    text = "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: {<<: [{z: 9}, *a], x: 0}\nd: *a\n"
    node, problems = parse(text, loader)
    assert problems == []
    assert isinstance(node, Table)
    found = {key.text: plain(item) for key, item in node.entries}
    assert found == {
        "a": [("x", "1"), ("y", "2")],
        "b": [("x", "1"), ("y", "3")],
        "c": [("z", "9"), ("y", "2"), ("x", "0")],
        "d": [("x", "1"), ("y", "2")],
    }


def bomb(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines)


@LOADERS_NAMED
@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        (bomb(50), 6, "holds more than 200000 values once its aliases are followed"),
        ("[" * 40 + "]" * 40, 1, "is nested deeper than 32 levels"),
        ("[" * 900 + "]" * 900, 1, "is nested deeper than 32 levels"),
        ("a: &a [*a]", 1, "an alias (*...) stands here without its anchor (&...) before it"),
        ("a: *b", 1, "an alias (*...) stands here without its anchor (&...) before it"),
        ("a: 1\nb: !!int 3", 2, "a tag (!...) stands here; no setting takes one, remove it"),
        ("? [a]\n: 1", 1, "a key must be a plain word"),
        ("a: {<<: 1}", 1, "<< takes an alias of a mapping"),
        ('a: "\\0"', 1, "holds a character that is no text"),
        ("a: 1\nb:\n\t- 1", 3, "a tab indents this line; YAML takes spaces only"),
        ("a: 1\n--- \nb: 1", 2, "a second document begins here; write everything in one"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_refused(text: str, line: int, reason: str, loader: type) -> None:
    assert parse(text, loader) == (None, [f"t:{line}: {reason}"])


@LOADERS_NAMED
@pytest.mark.parametrize(
    "text",
    [
        "a: [1",
        "a: {",
        "'",
        "a: b: c",
        "%",
        "@",
        "`",
        "a: |x",
        "- a\nb",
        '"\\UFFFFFFFF"',
        "\x01",
        "%YAML 9.9\n---\na",
        "&",
        "*",
        "!<",
        "a\n b: c",
        '"\\ud800"',
        "[" * 5000,
        "%TAG ! !\n---\n!!",
    ],
)
def test_what_is_not_yaml_is_one_problem(text: str, loader: type) -> None:
    node, problems = parse(text, loader)
    assert node is None
    assert len(problems) == 1


def test_a_byte_order_mark_and_windows_lines_do_no_harm(load: Load) -> None:
    assert load("\ufefflog:\r\n  level: debug\r\n").log.level == "debug"


def test_a_setting_from_an_anchor(load: Load) -> None:
    text = (
        "budgets:\n  items:\n    - &base {name: a, limit_usd: 5, owner: me}\n"
        "    - {<<: *base, name: b, limit_usd: 7.5}\n"
    )
    items = load(text).budgets.items
    assert [(b.name, b.limit_nano, b.owner) for b in items] == [
        ("a", 5 * 10**9, "me"),
        ("b", 7_500_000_000, "me"),
    ]


def test_empty_sections_are_their_defaults(load: Load) -> None:
    assert load("ledger:\nseries:\n  admit:\nbudgets:\n  items:\n") == load("")


def test_a_key_that_an_alias_repeats_stands_twice(refuse: Refuse) -> None:
    text = "log:\n  &k level: info\n  *k : debug\n"
    assert refuse(text) == ["costmeter.yml:2: log.level: stands twice, first in line 2; remove one"]
