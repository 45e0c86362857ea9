"""The real pynvml against a driver that is missing, breaks, hangs and comes back."""

from __future__ import annotations

import pytest

from fakes.nvml.build import uuid_of
from fakes.nvml.lab import Lab

FIRST, SECOND = uuid_of(0), uuid_of(1)


def test_without_a_driver_it_is_said_once_and_nothing_is_exported(bare_lab: Lab) -> None:
    child = bare_lab.child()
    assert child.ask("state") is None
    for _ in range(50):
        state = child.tick(10)
    assert state["readings"] == {}
    assert state["age"] is None
    assert "libnvidia-ml.so.1 was not found" in state["problem"]
    assert child.ask("metrics") == ""
    (line,) = child.log()
    assert line.startswith("INFO no GPU figures: libnvidia-ml.so.1 was not found: install the")


def test_a_driver_that_is_installed_later_is_found_without_a_restart(bare_lab: Lab) -> None:
    child = bare_lab.child()
    for _ in range(20):
        child.tick(10)
    child.log()
    bare_lab.install()
    state = child.tick(60)
    assert set(state["readings"]) == {FIRST, SECOND}
    assert state["problem"] is None
    assert child.log() == ["INFO GPUs found: 2, NVIDIA driver 595.80"]


def test_a_file_that_is_no_library_is_told_apart(bare_lab: Lab) -> None:
    (bare_lab.folder / "libnvidia-ml.so.1").write_text("not a library")
    child = bare_lab.child()
    assert "cannot be loaded" in child.tick()["problem"]
    assert child.log()[0].startswith("WARNING")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (4, "/dev/nvidiactl"),
        (9, "modprobe nvidia"),
        (12, "was not found"),
        (15, "fallen off the bus"),
        (18, "restart costmeter"),
        (999, "code 999"),
    ],
)
def test_each_refusal_at_the_start_is_put_in_plain_words(lab: Lab, code: int, words: str) -> None:
    lab.driver(init=code)
    child = lab.child()
    state = child.tick()
    assert words in state["problem"]
    assert state["readings"] == {}
    child.tick(100)
    assert len(child.log()) == 1
    lab.driver(init=0)
    assert set(child.tick(100)["readings"]) == {FIRST, SECOND}


def test_tries_come_at_doubling_distances_up_to_a_minute(lab: Lab) -> None:
    lab.driver(init=9)
    child = lab.child()
    for _ in range(40):
        child.tick(10)
    lab.driver(init=0)
    waited = 0
    while not child.tick(1)["readings"]:
        waited += 1
    assert 0 < waited <= 60


def test_a_driver_without_gpus_is_asked_again(lab: Lab) -> None:
    gpus, lab.machine.gpus = lab.machine.gpus, []
    lab.machine.write()
    child = lab.child()
    assert "lists no GPU" in child.tick()["problem"]
    lab.machine.gpus = gpus
    lab.machine.write()
    assert len(child.tick(60)["readings"]) == 2


def test_one_lost_gpu_does_not_touch_the_other_and_comes_back(lab: Lab) -> None:
    child = lab.child()
    child.tick()
    child.log()
    lab.change(0, lost=15)
    for _ in range(30):
        state = child.tick()
        assert set(state["readings"]) == {SECOND}
        assert state["lost"] == {FIRST: 1, SECOND: 0}
        assert state["age"] == 0
    assert state["readings"][SECOND]["busy_ms"] == 30_000
    (line,) = child.log()
    assert line.startswith(f"WARNING GPU {FIRST} stopped answering: the driver says that a GPU has")

    lab.change(0, lost=None)
    seconds = 0
    while FIRST not in (state := child.tick())["readings"]:
        seconds += 1
    assert seconds <= 60
    assert state["lost"] == {FIRST: 1, SECOND: 0}
    assert child.log() == [f"INFO GPU 0 ({FIRST}) answers again"]
    # The other one was metered all the time, also while NVML was opened anew.
    assert state["readings"][SECOND]["busy_ms"] == (31 + seconds) * 1000
    assert state["readings"][FIRST]["continuous"] is False
    assert state["readings"][FIRST]["busy_ms"] == 0
    child.tick()
    by_gpu: dict[str, int] = {}
    for usage in child.ask("usages"):
        # Time in which nobody could look is booked apart, as unobserved.
        seen = sum(usage["quantities"].get(name, 0) for name in ("gpu_ms", "gpu_idle_ms"))
        by_gpu[usage["resource"]] = by_gpu.get(usage["resource"], 0) + seen
    assert by_gpu == {SECOND: (32 + seconds) * 1000, FIRST: 1000}


def test_a_gpu_that_comes_back_only_after_a_new_start_is_really_reopened(lab: Lab) -> None:
    """The stand-in, like a driver, keeps a loss until NVML was shut down."""
    child = lab.child()
    child.tick()
    lab.change(0, lost=15)
    child.tick()
    lab.change(0, lost=None)
    assert FIRST in child.tick()["readings"]


def test_a_gpu_that_is_lost_at_the_start_is_found_later(lab: Lab) -> None:
    lab.change(1, lost=15)
    child = lab.child()
    state = child.tick()
    assert set(state["readings"]) == {FIRST}
    assert any("GPU 1:" in line for line in child.log())
    lab.change(1, lost=None)
    assert set(child.tick(60)["readings"]) == {FIRST, SECOND}


def test_the_driver_goes_away_and_comes_back(lab: Lab) -> None:
    child = lab.child()
    child.tick()
    child.tick()
    child.log()
    lab.driver(over=9, init=9)
    for _ in range(5):
        state = child.tick()
    assert state["readings"] == {}
    assert "modprobe nvidia" in state["problem"]
    assert state["lost"] == {FIRST: 1, SECOND: 1}
    assert state["age"] == 5
    assert "gpu_utilization_percent" not in child.ask("metrics")
    assert "\ngpu_sample_age_seconds" in child.ask("metrics")
    assert len(child.log()) == 1
    lab.driver(over=None, init=0)
    state = child.tick(60)
    assert set(state["readings"]) == {FIRST, SECOND}
    assert state["problem"] is None
    assert state["readings"][SECOND]["busy_ms"] == 1000


def test_a_hung_call_ages_its_gpu_until_it_is_absent(lab: Lab) -> None:
    child = lab.child(patience_seconds=0.5)
    child.tick()
    child.log()
    lab.change(0, hang=1)
    for second in range(1, 11):
        state = child.tick()
        assert state["took"] < 0.05
        assert set(state["readings"]) == {FIRST, SECOND}
        assert state["age"] == second
    state = child.tick()
    assert set(state["readings"]) == {SECOND}
    assert state["readings"][SECOND]["busy_ms"] == 11_000
    assert state["lost"] == {FIRST: 1, SECOND: 0}
    for _ in range(5):
        child.tick()
    assert child.ask("threads") == ["costmeter-nvml"] * 2
    assert len(child.log()) == 1

    lab.change(0, hang=None)
    child.ask("sleep", 0.3)
    state = child.tick()
    assert set(state["readings"]) == {FIRST, SECOND}
    assert state["age"] == 0


def test_a_lost_gpu_waits_for_a_hung_one_because_nvml_cannot_be_closed_then(lab: Lab) -> None:
    child = lab.child(patience_seconds=0.5)
    child.tick()
    lab.change(0, hang=1)
    child.tick()
    lab.change(1, lost=15)
    child.tick()
    lab.change(1, lost=None)
    for _ in range(3):
        assert set(child.tick(20)["readings"]) == set()
    lab.change(0, hang=None)
    child.ask("sleep", 0.3)
    child.tick()
    assert set(child.tick()["readings"]) == {FIRST, SECOND}


def test_a_hung_call_does_not_keep_the_process_from_ending(lab: Lab) -> None:
    child = lab.child(patience_seconds=0.5)
    child.tick()
    lab.change(0, hang=1)
    child.tick()
    assert child.end() == 0
    lab.children.clear()


def test_a_start_that_hangs_is_waited_for_and_said_once(lab: Lab) -> None:
    lab.driver(init_hang=1)
    child = lab.child(patience_seconds=0.5)
    for _ in range(15):
        state = child.tick()
    assert state["readings"] == {}
    assert "does not answer to its start" in state["problem"]
    assert len(child.log()) == 1
    lab.driver(init_hang=None)
    child.ask("sleep", 0.3)
    state = child.tick()
    assert set(state["readings"]) == {FIRST, SECOND}


def test_gpus_that_are_added_later_are_found_without_a_restart(lab: Lab) -> None:
    child = lab.child()
    child.tick()
    lab.machine.gpus.append(dict(lab.machine.gpus[0]))
    lab.machine.write()
    for _ in range(3):
        state = child.tick(60)
    assert set(state["readings"]) == {FIRST, SECOND, uuid_of(2)}
    assert state["lost"] == {FIRST: 0, SECOND: 0, uuid_of(2): 0}


def test_an_xid_outlives_the_gpu_that_it_ends(lab: Lab) -> None:
    child = lab.child()
    state = child.tick()
    assert [(one[1], one[3], one[4]) for one in state["xids"]] == [(FIRST, 0, 0), (SECOND, 0, 0)]
    lab.change(0, xid="79:1", lost=15)
    state = child.tick()
    assert set(state["readings"]) == {SECOND}
    assert [(one[3], one[4]) for one in state["xids"] if one[1] == FIRST] == [(0, 1), (79, 1)]
    assert any("Xid 79" in line for line in child.log())
    lab.change(0, lost=None)
    for _ in range(3):
        state = child.tick(60)
    assert [(one[3], one[4]) for one in state["xids"] if one[1] == FIRST] == [(0, 1), (79, 1)]
    lab.change(0, xid="79:2")
    state = child.tick()
    assert [(one[3], one[4]) for one in state["xids"] if one[1] == FIRST] == [(0, 2), (79, 2)]


def test_a_gpu_that_reports_no_events_has_no_count_of_them(lab: Lab) -> None:
    lab.change(0, no_events=1)
    state = lab.child().tick()
    assert {one[1] for one in state["xids"]} == {SECOND}
