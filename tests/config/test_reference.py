"""What is written about the settings agrees with the settings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from costmeter.config import Config, load_config, load_tokens, reference
from costmeter.config.default_file import default_text
from costmeter.config.document import parse_document
from costmeter.config.examples import BUDGETS, SCOPES, TOKENS, WEB
from costmeter.config.problems import Reading
from costmeter.config.records import Leaf, leaves
from costmeter.config.schema import Config as Schema
from costmeter.config.web_config import load_web_config

DOCS = Path(__file__).parents[2] / "docs" / "configuration.md"
LEAVES = list(leaves(Schema))


def test_both_generated_files_are_up_to_date() -> None:
    assert reference.main(["--check"]) == 0


def test_a_stale_file_fails_the_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert reference.main(["--check"], tmp_path) == 1
    assert "docs/configuration.md is stale" in capsys.readouterr().err
    assert reference.main([], tmp_path) == 0
    assert reference.main(["--check"], tmp_path) == 0
    (tmp_path / "docs" / "configuration.md").write_text("edited by hand", "utf-8")
    assert reference.main(["--check"], tmp_path) == 1


def test_the_default_file_means_the_same_as_no_file(tmp_path: Path) -> None:
    path = tmp_path / "default.yml"
    path.write_text(default_text(), "utf-8")
    assert load_config(path, {}) == load_config(None, {})


def test_no_file_is_the_default_of_every_setting() -> None:
    loaded = load_config(None, {})
    assert loaded.jobs.timezone == loaded.ledger.reporting_timezone == "UTC"
    for leaf in LEAVES:
        if leaf.key == "jobs.timezone":
            continue
        value: object = loaded
        for name in leaf.path:
            value = getattr(value, name)
        assert value == leaf.setting.default, leaf.key


def test_the_default_file_has_every_setting_with_a_comment() -> None:
    lines = default_text().splitlines()
    for leaf in LEAVES:
        word = leaf.key.rpartition(".")[2]
        depth = "  " * leaf.key.count(".")
        found = [n for n, line in enumerate(lines) if line.startswith(f"{depth}{word}:")]
        assert found, leaf.key
        assert all(lines[n - 1].lstrip().startswith("# ") for n in found), leaf.key


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.key)
def test_every_setting_is_explained_and_documented(leaf: Leaf) -> None:
    assert leaf.setting.about.endswith((".", "none."))
    assert leaf.setting.kind.what
    text = DOCS.read_text("utf-8")
    if leaf.key not in ("scopes", "sources", "contracts", "serving"):
        assert f"| `{leaf.key}` |" in text
    if leaf.setting.kind.scalar:
        assert f"`{leaf.variable}`" in text


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.key)
def test_every_default_can_be_written_as_it_is_shown(leaf: Leaf) -> None:
    reading = Reading()
    table = parse_document(f"x: {leaf.setting.show_default()}", "t", Path(), reading)
    assert table is not None
    node = table.entries[0][1]  # type: ignore[union-attr]
    assert leaf.setting.kind.read(node, "x", reading) == leaf.setting.default
    assert reading.problems == []


def test_no_two_settings_share_a_variable_or_a_flag() -> None:
    variables = [leaf.variable for leaf in LEAVES]
    flags = [leaf.setting.flag for leaf in LEAVES if leaf.setting.flag]
    assert len(set(variables)) == len(variables)
    assert len(set(flags)) == len(flags)
    for leaf in LEAVES:
        if leaf.setting.flag:  # --web.config.file sets web.config_file, and so on
            assert re.sub(r"[-._]", ".", leaf.setting.flag[2:]) == leaf.key.replace("_", ".")


def test_the_examples_of_the_reference_load(tmp_path: Path) -> None:
    indented = "".join(f"    {line}\n" for line in BUDGETS.splitlines())
    path = tmp_path / "costmeter.yml"
    path.write_text(f"budgets:\n  items:\n{indented}scopes:\n{SCOPES}", "utf-8")
    loaded: Config = load_config(path, {})
    assert [b.limit_nano for b in loaded.budgets.items] == [12_000_000_000_000, 499_990_000_000]
    names = ["openai", "aws/bedrock", "aws/rest", "rest"]
    assert [scope.name for scope in loaded.scopes] == names

    tokens = tmp_path / "tokens.yml"
    tokens.write_text(TOKENS.replace("HASH", "a" * 64, 1).replace("HASH", "b" * 64), "utf-8")
    assert {token.name for token in load_tokens(tokens)} == {"gateway", "acme-app"}

    web = tmp_path / "web.yml"
    users = WEB[WEB.index("basic_auth_users") :]
    web.write_text(users.replace("$2y$10$...", f"$2y$10${'.' * 53}"), "utf-8")
    assert load_web_config(web).needs_password


def test_the_examples_cannot_be_used_as_they_stand(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.yml"
    tokens.write_text(TOKENS, "utf-8")
    with pytest.raises(Exception, match="is not the SHA-256 of a token"):
        load_tokens(tokens)
