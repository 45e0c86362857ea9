"""Sections in files of their own."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from costmeter.config import Config

Load = Callable[..., Config]
Refuse = Callable[..., list[str]]


def test_sections_and_lists_are_joined(load: Load, tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "a.yml").write_text(
        "budgets: {items: [{name: a, limit_usd: 1}]}\nprices: {files: [p.yml]}\n", "utf-8"
    )
    (tmp_path / "conf.d" / "p.yml").touch()
    (tmp_path / "b.yml").write_text("budgets: {items: [{name: b, limit_usd: 2}]}\n", "utf-8")
    loaded = load(
        "include: [conf.d/a.yml, b.yml]\nbudgets:\n  monthly_usd: 9\n  items:\n"
        "    - {name: own, limit_usd: 3}\n"
    )
    assert [budget.name for budget in loaded.budgets.items] == ["own", "a", "b"]
    assert loaded.budgets.monthly_nano == 9 * 10**9
    assert loaded.prices.files == (tmp_path / "conf.d" / "p.yml",)


def test_a_mistake_in_an_included_file_has_its_own_place(refuse: Refuse, tmp_path: Path) -> None:
    (tmp_path / "b.yml").write_text("\nlog:\n  level: loud\n", "utf-8")
    (told,) = refuse("include: [b.yml]")
    assert told.startswith("b.yml:3: log.level: 'loud' is not")


def test_a_name_taken_in_another_file_is_told_with_the_file(refuse: Refuse, tmp_path: Path) -> None:
    text = "budgets: {items: [{name: a, limit_usd: 1}]}\n"
    (tmp_path / "b.yml").write_text(text, "utf-8")
    assert refuse(f"include: [b.yml]\n{text}") == [
        (
            "b.yml:1: budgets.items[1].name: 'a' is taken already, in costmeter.yml:2;"
            " every name stands once"
        )
    ]


def test_a_setting_that_two_files_give(refuse: Refuse, tmp_path: Path) -> None:
    (tmp_path / "b.yml").write_text("log: {level: info}\n", "utf-8")
    assert refuse("log: {level: debug}\ninclude: [b.yml]") == [
        "b.yml:1: log.level: is set already, in costmeter.yml:1; remove one of the two"
    ]


def test_what_cannot_be_included(refuse: Refuse, tmp_path: Path) -> None:
    (tmp_path / "nested.yml").write_text("include: [x.yml]\n", "utf-8")
    (tmp_path / "list.yml").write_text("- a\n", "utf-8")
    (tmp_path / "broken.yml").write_text("a: [\n", "utf-8")
    told = refuse("include: [gone.yml, nested.yml, list.yml, broken.yml, costmeter.yml]")
    assert told[:4] == [
        "gone.yml: there is no such file",
        "nested.yml:1: include: an included file cannot include others",
        "list.yml:1: is not a mapping of sections",
        told[3],
    ]
    assert re.match(r"broken\.yml:[12]: is not YAML here: ", told[3])
    assert told[4] == "costmeter.yml:1: include: a file cannot include itself"
    assert len(told) == 5


def test_the_list_of_files_is_checked(refuse: Refuse) -> None:
    (told,) = refuse("include: b.yml")
    assert told.startswith("costmeter.yml:1: include: a single value stands here, not a list")


def test_an_empty_included_file_adds_nothing(load: Load, tmp_path: Path) -> None:
    (tmp_path / "b.yml").touch()
    assert load("include: [b.yml]") == load("")
