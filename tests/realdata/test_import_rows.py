"""Rows as spreadsheets, data frames and accidents leave them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from costmeter.cli import main


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace("0.5", "NaN"), "'NaN' is no amount of USD"),
        (lambda text: text.replace("638", "638.5"), "'638.5' is no count"),
        (lambda text: text.replace("1723560043", "soon"), "'soon' is no time"),
        (lambda text: text + "1723560043\n1", "'1' is no time"),
        (lambda text: text.replace("gpt-4o-mini", "x" * 140_000), "cannot be read"),
    ],
)
def test_a_wrong_row_is_told_in_one_line(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[str], str],
    said: str,
) -> None:
    (folder / "t.csv").write_text(change(ROW))
    options = ["--columns", COLUMNS_OF_ROW, "--compare", "cost_usd", "--dry-run"]
    code = main(["import", "t.csv", *options])
    error = capsys.readouterr().err
    assert (code, said in error, error.count("\n")) == (1, True, 1)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace("638", "638.0"),
        lambda text: text.replace("\n17", "\n17", 1).rstrip() + ",left,over\n",
    ],
)
def test_what_spreadsheets_and_data_frames_write_is_read(
    folder: Path, capsys: pytest.CaptureFixture[str], change: Callable[[str], str]
) -> None:
    (folder / "t.csv").write_text(change(ROW), encoding="utf-8")
    assert main(["import", "t.csv", "--columns", COLUMNS_OF_ROW, "--ledger.path", "l.db"]) == 0
    assert "1 booked, 0 known already" in capsys.readouterr().err


ROW = "time,model,prompt_tokens,completion_tokens,cost_usd\n1723560043,gpt-4o-mini,638,25,0.5\n"
COLUMNS_OF_ROW = "timestamp=time,model=model,input=prompt_tokens,output=completion_tokens"
