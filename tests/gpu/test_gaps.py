"""What the meter remembers over a restart, and what it does when it cannot."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from costmeter.gpu.gaps import Gaps, boot_id
from costmeter.gpu.segments import End
from costmeter.segment import Owner, Placement, Segment, Share

SEGMENT = Segment(
    "run", 3, 1_000, 60_000, "GPU-0", "H100",
    Placement("aws", "1", "r", "p5", "spot", "n", Owner("machine")),
    (Share(Owner("a", pod="p"), 50_000, 5_000, 0, 0, 7, "MIG-1", "1g.10gb"),
     Share(unallocated_ms=5_000)),
)  # fmt: skip
ENDS = {"GPU-0": End(61_000, 5_000)}


def test_what_was_kept_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "gpu.json"
    assert (Gaps(path, "b").ends, Gaps(path, "b").segments) == ({}, ())
    Gaps(path, "b").keep(ENDS, [SEGMENT], durable=True)
    again = Gaps(path, "b")
    assert again.ends == ENDS
    assert list(again.segments) == [SEGMENT]
    assert [p.name for p in tmp_path.iterdir()] == ["gpu.json"]


def test_after_another_start_of_the_machine_only_segments_are_left(tmp_path: Path) -> None:
    path = tmp_path / "gpu.json"
    Gaps(path, "b").keep(ENDS, [SEGMENT], durable=True)
    assert Gaps(path, "c").ends == {}
    assert list(Gaps(path, "c").segments) == [SEGMENT]


def test_a_machine_that_does_not_name_its_starts_has_no_gaps(tmp_path: Path) -> None:
    path = tmp_path / "gpu.json"
    Gaps(path, "").keep(ENDS, [], durable=False)
    assert Gaps(path, "").ends == {}


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"version": 2}', '{"version": 1, "boot": "b", "ends": [1]}',
     json.dumps({"version": 1, "boot": "b", "ends": {}, "segments": [[1, 2]]})],
)  # fmt: skip
def test_a_broken_file_is_put_aside_and_said(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "gpu.json"
    path.write_text(text)
    gaps = Gaps(path, "b")
    assert (gaps.ends, gaps.segments) == ({}, ())
    assert len(caplog.records) == 1
    assert "gpu.json cannot be read" in caplog.text
    assert (tmp_path / "gpu.json.broken").read_text() == text
    gaps.keep(ENDS, [], durable=True)
    assert Gaps(path, "b").ends == ENDS


def test_a_folder_that_cannot_be_written_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gaps = Gaps(tmp_path / "missing" / "gpu.json", "b")
    with caplog.at_level(logging.WARNING, "costmeter.gpu"):
        gaps.keep(ENDS, [], durable=True)
        gaps.keep(ENDS, [], durable=False)
    assert len(caplog.records) == 1
    assert "cannot be written" in caplog.text
    (tmp_path / "missing").mkdir()
    gaps.keep(ENDS, [], durable=True)
    assert Gaps(tmp_path / "missing" / "gpu.json", "b").ends == ENDS


def test_the_start_of_this_machine_has_a_name() -> None:
    if not Path("/proc/sys/kernel/random/boot_id").exists():
        pytest.skip("this system names no starts")
    assert len(boot_id()) == 36
    assert boot_id() == boot_id()
