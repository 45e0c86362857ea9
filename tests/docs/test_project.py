"""The files around the code: targets, versions, constraints, the licence."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

import costmeter
from docs.pages import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def tracked() -> list[Path]:
    """The files that belong to the project, committed or about to be."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("this is no git checkout, so which files belong to it is not known")
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [path for path in paths if path.is_file()]


def normal(name: str) -> str:
    """A package's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {normal(name): version for name, version in pairs}


def test_every_target_says_what_it_does() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    phony = re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    assert phony is not None
    described = re.findall(r"^([a-z]+):.*## \S", makefile, re.MULTILINE)
    assert sorted(described) == sorted(phony[1].split())
    assert {"run", "test", "check", "help"} <= set(described)


def test_make_alone_prints_the_targets() -> None:
    said = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("make run", "make test", "make check"):
        assert target in said


def test_documented_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    for page in ("README.md", "CONTRIBUTING.md", "docs/operations.md", "docs/dependencies.md"):
        text = (ROOT / page).read_text("utf-8")
        assert set(re.findall(r"(?:`|^|\n)make ([a-z]+)", text)) <= targets, page


def test_constraints_are_exact_versions_without_addresses() -> None:
    text = (ROOT / "constraints.txt").read_text("utf-8")
    for line in text.splitlines():
        assert re.fullmatch(r"#.*|[A-Za-z0-9._-]+==[0-9][0-9a-z.]*", line), line
    assert "://" not in text


def test_everything_that_is_asked_for_is_pinned() -> None:
    project = PYPROJECT["project"]
    asked = list(project["dependencies"]) + PYPROJECT["build-system"]["requires"]
    for extra in project["optional-dependencies"].values():
        asked += extra
    names = {normal(re.match(r"[A-Za-z0-9._-]+", text)[0]) for text in asked}  # type: ignore[index]
    assert names - {"costmeter"} - pins().keys() == set()


def test_every_dependency_has_its_reason() -> None:
    reasons = (ROOT / "docs" / "dependencies.md").read_text("utf-8")
    project = PYPROJECT["project"]
    asked = list(project["dependencies"])
    for extra in project["optional-dependencies"].values():
        asked += extra
    for text in asked:
        found = re.match(r"[A-Za-z0-9._-]+", text)
        assert found is not None
        assert f"`{found[0]}`" in reasons or found[0] == "costmeter", found[0]


def test_the_changelog_has_this_version() -> None:
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8")
    newest = re.search(r"^## (?:Unreleased: )?(\S+)", changes, re.MULTILINE)
    assert newest is not None
    assert newest[1] == costmeter.__version__


def test_no_file_names_a_machine_or_an_index() -> None:
    # Put together here, so that this file does not name them itself.
    homes = re.compile(
        rb"(?<![\w.-])/(?:" + rb"root|home/(?!kubernetes/)\w+|work|Users/\w+" + rb")/"
    )
    indexes = re.compile(
        rb"--(?:extra-)?index" + rb"-url|--find" + rb"-links|--trusted" + rb"-host"
    )
    for path in tracked():
        text = path.read_bytes()
        assert not homes.search(text), f"{path.relative_to(ROOT)}: {homes.search(text)}"
        assert not indexes.search(text), path.relative_to(ROOT)


def test_the_licence_is_whole() -> None:
    text = (ROOT / "LICENSE").read_text("utf-8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert PYPROJECT["project"]["license"] == "Apache-2.0"


def test_the_readme_shows_the_landing_page_s_line() -> None:
    from costmeter.web.landing import first_event

    line = first_event("http://127.0.0.1:9952", with_token=False)
    assert line in (ROOT / "README.md").read_text("utf-8")


def test_configuration_examples_are_accepted(tmp_path: Path) -> None:
    from costmeter.config import load_config

    readme = (ROOT / "README.md").read_text("utf-8")
    blocks = re.findall(r"^```yaml\n(# costmeter\.yml.*?)^```", readme, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 1
    path = tmp_path / "costmeter.yml"
    path.write_text(blocks[0], "utf-8")
    config = load_config(path, {}, {})
    assert [item.name for item in config.budgets.items] == ["search-production"]
