"""Disks that are full or read-only, and files that are damaged: plain words, nothing wrong."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes.exporter import Exporter, call, wait_until

pytestmark = pytest.mark.slow
CONFIG = """
ledger: {birth_hold_seconds: 0}
gpu: {enabled: false}
budgets: {monthly_usd: 100}
jobs: {budgets_seconds: 1}
"""
NANO = 270_000
"""What one `call` costs."""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own of 6 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("a small file system can be mounted by root only")
    made = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)], capture_output=True
    )
    if made.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {made.stderr.decode()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(path: Path) -> None:
    """Write a file until its disk is full."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    assert shutil.disk_usage(path).free == 0


def shown(exporter: Exporter) -> dict:
    return exporter.metrics().starting_with("llm_")


def on(folder: Path, disk: Path) -> Exporter:
    return Exporter(folder, CONFIG, ledger_path=str(disk / "ledger.db"))


def refused(exporter: Exporter, words: str) -> None:
    """Writes are refused with the reason, at every door, and the figures are hidden."""
    answer = exporter.post([call("refused")])
    assert answer.status == 503
    assert words in answer.text
    assert int(answer.headers["retry-after"]) > 0
    ready = exporter.ask("GET", "/-/ready")
    assert ready.status == 503
    assert words in ready.text
    assert exporter.ask("GET", "/-/healthy").status == 200
    wait_until(lambda: not shown(exporter), 14, "stale figures are hidden", every=0.3)
    page = exporter.metrics()
    assert page.sum("costmeter_ledger_up") == 0
    failures = page.sum("costmeter_ledger_write_failures_total")
    assert failures is not None
    assert failures >= 1
    lines = [line for line in exporter.log.splitlines() if words in line]
    assert 1 <= len(lines) <= 18, "said once a kind, not every second"
    assert "Traceback" not in exporter.log


def test_a_full_disk_refuses_hides_and_recovers(tmp_path: Path, small_disk: Path) -> None:
    with on(tmp_path, small_disk) as exporter:
        exporter.start()
        taken = 0
        filler = small_disk / "filler"
        exporter.send([call(n) for n in range(100)])
        taken += 100
        fill(filler)
        number = 1_000
        answer = exporter.post([call(number)])
        ends = time.monotonic() + 30
        while answer.status == 200 and time.monotonic() < ends:
            taken += answer.json()["accepted"]
            number += 1
            answer = exporter.post([call(f"{number}-{n}") for n in range(200)])
        assert answer.status == 503, "the disk never filled up"
        refused(exporter, "is full; make room and it goes on by itself")
        filler.unlink()
        exporter.wait_ready(10)
        again = exporter.send([call(f"{number}-{n}") for n in range(200)])
        assert again["accepted"] == 200, "what was refused was not booked"
        taken += 200
        wait_until(lambda: exporter.metrics().sum("llm_requests_total") == taken, 10, "all")
        assert exporter.metrics().sum("costmeter_ledger_up") == 1
        assert exporter.metrics().sum("llm_cost_month_to_date") == pytest.approx(
            taken * NANO / 10**9, abs=1e-12
        )
        assert exporter.terminate() == 0
        verified = exporter.command("verify")
        assert verified.returncode == 0, verified.stdout


def test_a_full_disk_at_the_start_is_said(tmp_path: Path, small_disk: Path) -> None:
    with on(tmp_path, small_disk) as exporter:
        exporter.start()
        exporter.send([call(1)])
        exporter.kill9()
        filler = small_disk / "filler"
        fill(filler)
        code = exporter.launch().wait(20)
        assert code == 1
        assert "is full; make room" in exporter.log
        assert "Traceback" not in exporter.log
        filler.unlink()
        exporter.start()
        wait_until(lambda: exporter.metrics().sum("llm_requests_total") == 1, 10, "it is there")


def test_a_file_that_may_grow_no_more(tmp_path: Path) -> None:
    """The same for whoever is not root: the system refuses writes beyond a size."""
    prlimit = shutil.which("prlimit")
    if prlimit is None:
        pytest.skip("there is no prlimit on this machine")
    size = 1_500_000
    exporter = Exporter(tmp_path, CONFIG, prefix=[prlimit, f"--fsize={size}"])
    with exporter:
        exporter.start()
        taken, number = 0, 0
        while True:
            answer = exporter.post([call(f"{number}-{n}") for n in range(200)])
            if answer.status != 200:
                break
            taken += answer.json()["accepted"]
            number += 1
            assert number < 200, "the limit was never reached"
        assert answer.status == 503
        assert "retry-after" in answer.headers
        assert exporter.ask("GET", "/-/ready").status == 503
        exporter.kill9()
        exporter.prefix = ()
        exporter.start()
        again = exporter.send([call(f"{number}-{n}") for n in range(200)])
        assert again["accepted"] == 200
        wait_until(lambda: exporter.metrics().sum("llm_requests_total") == taken + 200, 10, "all")
        assert "Traceback" not in exporter.log
        assert exporter.terminate() == 0
    assert exporter.command("verify").returncode == 0


def test_a_disk_that_becomes_read_only(tmp_path: Path, small_disk: Path) -> None:
    with on(tmp_path, small_disk) as exporter:
        exporter.start()
        exporter.send([call(1)])
        # Open files forbid a remount, so the mount itself is made read-only.
        subprocess.run(["mount", "--bind", str(small_disk), str(small_disk)], check=True)
        exporter.kill9()
        exporter.start()
        exporter.send([call(2)])
        exporter.kill9()
        subprocess.run(["mount", "-o", "remount,ro,bind", str(small_disk)], check=True)
        try:
            assert exporter.launch().wait(20) == 1
            assert "is not writable" in exporter.log
            assert "Traceback" not in exporter.log
            for command in (["cost"], ["verify"]):
                said = exporter.command(*command)
                assert "Traceback" not in said.stderr
        finally:
            subprocess.run(["umount", "-l", str(small_disk)], check=True)
        exporter.start()
        wait_until(lambda: exporter.metrics().sum("llm_requests_total") == 2, 10, "it goes on")


DAMAGES = {
    "not a database": lambda data: b"these are my notes\n" * (len(data) // 19),
    "half of it": lambda data: data[: len(data) // 2],
    "a flipped header": lambda data: b"X" + data[1:],
    "flipped in the middle": lambda data: (
        data[: len(data) // 4] + os.urandom(len(data) // 2) + data[3 * len(data) // 4 :]
    ),
    "zeros in the schema": lambda data: data[:100] + bytes(3_900) + data[4_000:],
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_ledger_is_said_at_the_start(tmp_path: Path, kind: str) -> None:
    with Exporter(tmp_path, CONFIG) as exporter:
        exporter.start()
        exporter.send([call(n, tenant_id=f"t{n}") for n in range(300)])
        assert exporter.terminate() == 0
        assert exporter.command("backup", "copy.db").returncode == 0
        data = DAMAGES[kind](exporter.ledger.read_bytes())
        exporter.ledger.write_bytes(data)
        verified = exporter.command("verify")
        assert verified.returncode == 1
        assert "damaged" in verified.stdout + verified.stderr
        assert "Traceback" not in verified.stderr
        for command in (["cost"], ["cost", "--by", "tenant_id,day"], ["backup", "other.db"]):
            assert "Traceback" not in exporter.command(*command).stderr
        exporter.launch()
        ends = time.monotonic() + 12
        while time.monotonic() < ends and exporter.process.poll() is None:
            ready = exporter.try_ask("GET", "/-/ready", timeout=2)
            if ready is not None:
                if ready.status == 200:
                    answer = exporter.post([call(n, tenant_id=f"t{n}") for n in range(600)])
                    if answer.status == 200:
                        # The damage lies where nothing has to be read: all is well here.
                        break
                    assert answer.status == 503, answer.text
                else:
                    assert "damaged" in ready.text
                    break
            time.sleep(0.2)
        if exporter.process.poll() is not None:
            assert exporter.wait() == 1
            assert "damaged" in exporter.log
            assert "costmeter restore BACKUP" in exporter.log
        assert "Traceback" not in exporter.log
        if exporter.process.poll() is None:
            exporter.kill9()
        restored = exporter.command("restore", "copy.db")
        assert restored.returncode == 0, restored.stderr
        exporter.start()
        usd = pytest.approx(300 * NANO / 10**9)
        wait_until(
            lambda: exporter.metrics().sum("llm_cost_month_to_date") == usd, 10, "the backup"
        )
        assert exporter.send([call(n, tenant_id=f"t{n}") for n in range(300)])["duplicate"] == 300


def test_a_newer_ledger_is_refused(tmp_path: Path) -> None:
    with Exporter(tmp_path, CONFIG) as exporter:
        exporter.start()
        exporter.terminate()
        with sqlite3.connect(exporter.ledger) as connection:
            connection.execute("PRAGMA user_version = 99")
        connection.close()
        before = exporter.ledger.read_bytes()
        assert exporter.launch().wait() == 1
        assert "has version 99; this program knows versions up to" in exporter.log
        assert "Install the newer costmeter" in exporter.log
        for command in (["cost"], ["verify"], ["backup", "copy.db"]):
            said = exporter.command(*command)
            assert said.returncode == 1
            assert "has version 99" in said.stderr
            assert "Traceback" not in said.stderr
        assert exporter.ledger.read_bytes() == before


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    with Exporter(tmp_path, CONFIG) as exporter:
        connection = sqlite3.connect(exporter.ledger)
        connection.execute("CREATE TABLE meta (k, v)")
        connection.close()
        before = exporter.ledger.read_bytes()
        assert exporter.launch().wait() == 1
        assert "is another program's database" in exporter.log
        assert exporter.ledger.read_bytes() == before


def test_a_folder_where_the_ledger_should_be(tmp_path: Path) -> None:
    with Exporter(tmp_path, CONFIG) as exporter:
        exporter.ledger.mkdir()
        assert exporter.launch().wait() == 1
        assert "cannot be opened" in exporter.log
        assert "Traceback" not in exporter.log


def test_a_log_that_a_kill_left_is_part_of_the_ledger(tmp_path: Path) -> None:
    with Exporter(tmp_path, CONFIG) as exporter:
        exporter.start()
        exporter.send([call(n) for n in range(50)])
        time.sleep(1.5)
        exporter.kill9()
        log = exporter.ledger.with_name("ledger.db-wal")
        assert log.stat().st_size > 0
        said = exporter.command("cost", "--by", "provider", "--json")
        assert '"requests": 50' in said.stdout, said
        assert exporter.command("verify").returncode == 0
        # A log whose last record was torn: what was acknowledged lies before it.
        with log.open("ab") as file:
            file.write(os.urandom(2_000))
        exporter.start()
        wait_until(lambda: exporter.metrics().sum("llm_requests_total") == 50, 10, "50 calls")


def test_absurd_counts_are_refused_one_by_one_and_spoil_nothing(tmp_path: Path) -> None:
    """What a sum of believable counts does to a ledger is tested in tests/ledger."""
    huge = {"input": 10**12, "output": 10**12}
    with Exporter(tmp_path, CONFIG) as exporter:
        exporter.start()
        events = [call(n, model="gpt-4-32k", tokens=huge) for n in range(600)]
        answer = exporter.send([*events, call("sound")])
        assert answer["accepted"] == 1
        assert {item["field"] for item in answer["rejected"]} == {"tokens.input"}
        assert len(answer["rejected"]) == 600
        exporter.kill9()
        exporter.start()
        wait_until(lambda: exporter.metrics().sum("llm_requests_total") == 1, 10, "one call")
        assert "Traceback" not in exporter.log
        assert exporter.terminate() == 0
    assert exporter.command("verify").returncode == 0
