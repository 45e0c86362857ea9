"""The committed JSON is what the code builds, and the command says so."""

import json
import shutil
from pathlib import Path

import pytest

from dashboards import build


def test_the_committed_files_are_up_to_date() -> None:
    assert build.main(["--check"]) == 0


def test_every_dashboard_is_written(tmp_path: Path) -> None:
    assert build.main([], tmp_path / "new") == 0
    written = {path.name: path.read_text("utf-8") for path in (tmp_path / "new").iterdir()}
    assert written == build.texts()
    for text in written.values():
        assert json.loads(text)["panels"]


def test_check_names_a_stale_file_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(build.FOLDER, tmp_path, dirs_exist_ok=True)
    stale = tmp_path / "exporter-health.json"
    stale.write_text("{}", "utf-8")
    assert build.main(["--check"], tmp_path) == 1
    assert "exporter-health.json is stale" in capsys.readouterr().err
    assert stale.read_text("utf-8") == "{}"


def test_a_dashboard_that_is_no_more_is_named_and_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build.main([], tmp_path)
    old = tmp_path / "old.json"
    old.write_text("{}", "utf-8")
    assert build.main(["--check"], tmp_path) == 1
    assert "old.json is stale" in capsys.readouterr().err
    assert old.exists()
    assert build.main([], tmp_path) == 0
    assert not old.exists()
    assert build.main(["--check"], tmp_path) == 0


def test_building_twice_gives_the_same() -> None:
    assert build.texts() == build.texts()
