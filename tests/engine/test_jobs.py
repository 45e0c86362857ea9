"""The job runner on a real ledger: order, failures, what survives a restart, by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from costmeter.engine.jobs import Job, JobRunner
from costmeter.engine.schedule import Every, daily
from costmeter.ledger.booking import Booking
from costmeter.ledger.door import Unavailable
from costmeter.ledger.jobstate import JobState, Request
from costmeter.ledger.store import open_for_writing
from costmeter.ledger.terms import Terms
from costmeter.ledger.upkeep import start
from costmeter.ledger.writer import Writer
from costmeter.pricing import load_price_book
from costmeter.tally import Tally
from fakes.clock import FakeClock


class Bench:
    def __init__(self, path: Path) -> None:
        self.clock = FakeClock()
        self.tally = Tally()
        self.ran: list[str] = []
        self.store = open_for_writing(path)
        booking = Booking(self.store, Terms(), load_price_book(), self.clock, self.tally)
        start(booking, [])
        self.writer = Writer(booking, self.tally)
        self.writer.start()
        self.reader = self.store.reader()
        self.state = JobState(self.reader, self.writer)

    def runner(self, *jobs: Job) -> JobRunner:
        runner = JobRunner(jobs, self.state, self.clock, self.tally)
        runner.remember()
        return runner

    def job(self, name: str, schedule: object, fails: bool = False) -> Job:
        def work() -> str:
            self.ran.append(name)
            if fails:
                raise OSError("the cable is out")
            return f"{name} did it"

        return Job(name, schedule, work)  # type: ignore[arg-type]

    def close(self) -> None:
        self.writer.close()
        self.reader.close()
        self.store.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "ledger.db")
    yield made
    made.close()


def test_due_jobs_run_in_their_order(bench: Bench) -> None:
    runner = bench.runner(bench.job("first", Every(60)), bench.job("second", Every(3_600)))
    runner.run_due()
    bench.clock.advance(minutes=1)
    runner.run_due()
    assert bench.ran == ["first", "second", "first"]


def test_a_success_outlives_a_restart(bench: Bench) -> None:
    clean_up = bench.job("clean-up", daily("04:00", "UTC"))
    bench.runner(clean_up).run_due()
    again = bench.runner(clean_up)
    again.run_due()
    assert bench.ran == ["clean-up"]
    bench.clock.advance(days=3)
    bench.runner(clean_up).run_due()
    assert bench.ran == ["clean-up", "clean-up"]


def test_a_failing_job_stops_no_other_and_is_tried_again(bench: Bench) -> None:
    broken = bench.job("broken", daily("04:00", "UTC"), fails=True)
    runner = bench.runner(broken, bench.job("sound", Every(60)))
    runner.run_due()
    assert bench.ran == ["broken", "sound"]
    assert bench.tally.read()["costmeter_job_failures_total"] == {("broken",): 1}
    runner.run_due()
    assert bench.ran == ["broken", "sound"]
    bench.clock.advance(minutes=1)
    runner.run_due()
    assert bench.ran == ["broken", "sound", "broken", "sound"]


def test_success_and_duration_are_figures(bench: Bench) -> None:
    bench.runner(bench.job("first", Every(60))).run_due()
    figures = bench.tally.read()
    expected = bench.clock.now_ms() / 1000
    assert figures["costmeter_job_last_success_timestamp_seconds"] == {("first",): expected}
    assert figures["costmeter_job_duration_seconds"][("first",)] >= 0


def test_a_run_by_hand_is_answered_once(bench: Bench) -> None:
    runner = bench.runner(bench.job("first", Every(3_600)))
    runner.run_due()
    asked = Request("first", 77)
    bench.writer.run(
        lambda: bench.store.connection.execute(
            "INSERT INTO state VALUES ('job_request', 'first', '', 77)"
        )
    ).result()
    assert bench.state.requests() == [asked]
    runner.run_due()
    runner.run_due()
    assert bench.ran == ["first", "first"]
    assert bench.state.requests() == []


def test_an_unknown_job_names_the_known_ones(bench: Bench) -> None:
    runner = bench.runner(bench.job("first", Every(60)))
    assert runner.run_named("frist") == "there is no job 'frist'; choose from first"


def test_an_answer_that_cannot_be_written_stops_no_regular_work(bench: Bench) -> None:
    runner = bench.runner(bench.job("often", Every(1)))
    runner.run_due()
    bench.writer.run(
        lambda: bench.store.connection.execute(
            "INSERT INTO state VALUES ('job_request', 'often', '', 77)"
        )
    ).result()
    bench.clock.step_wall(3 * 3_600)  # the ledger takes no writes until the clock is right
    for _ in range(2):
        with pytest.raises(Unavailable):
            runner.run_due()
        bench.clock.advance(1)
    assert bench.ran == ["often"] * 5  # each time in its turn, and then by hand
