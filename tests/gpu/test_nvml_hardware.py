"""What each kind of card tells beside its main figures, and what it leaves out."""

from __future__ import annotations

from typing import Any

import pytest

from fakes.nvml.build import FULL_A100, H100, L4, T4, cut, mig_uuid, uuid_of
from fakes.nvml.lab import Lab

FIRST, SECOND = uuid_of(0), uuid_of(1)
GPM = ["sm", "dram", "tensor", "fp16", "fp32", "fp64"]


def fit(lab: Lab, *gpus: dict[str, Any]) -> None:
    lab.machine.gpus = [dict(gpu) for gpu in gpus]
    lab.machine.write()


# Readings come as JSON: named tuples are lists in the order of their fields.
def activity(reading: Any) -> dict[str, Any]:
    from costmeter.gpu.readings import Activity

    return dict(zip(Activity._fields, reading["activity"], strict=True))


def health(reading: Any) -> dict[str, Any]:
    from costmeter.gpu.readings import Health

    return dict(zip(Health._fields, reading["health"], strict=True))


def test_a_mixed_machine_has_of_each_card_what_it_answers(lab: Lab) -> None:
    fit(lab, FULL_A100, H100, L4, T4)
    child = lab.child()
    first = child.tick()["readings"]
    readings = child.tick()["readings"]
    a100, h100, l4, t4 = (activity(readings[uuid_of(index)]) for index in range(4))
    # Counters of the whole GPU's work: Hopper has them, from the second sample on.
    assert activity(first[SECOND])["tensor_utilization_percent"] is None
    assert [h100[f"{name}_utilization_percent"] for name in GPM] == [
        93.5, 38.0, 57.5, 1.5, 12.5, 0.0,
    ]  # fmt: skip
    assert [one["tensor_utilization_percent"] for one in (a100, l4, t4)] == [None] * 3
    assert h100["pcie_transmit_bytes_per_second"] == 10 << 20
    assert a100["pcie_receive_bytes_per_second"] == 4_096 << 10
    assert a100["nvlink_transmitted_bytes"] == 1_000 << 10
    assert l4["nvlink_transmitted_bytes"] is None
    assert a100["memory_temperature_celsius"] == 66
    assert l4["memory_temperature_celsius"] is None
    assert (a100["sm_clock_mhz"], a100["memory_clock_mhz"], a100["video_clock_mhz"]) == (
        1_410, 1_593, 1_275,
    )  # fmt: skip
    assert a100["throttle_reasons"] == ["sw_power_cap"]
    assert (a100["mig_enabled"], t4["mig_enabled"]) == (False, None)
    assert (a100["encoder_utilization_percent"], a100["decoder_utilization_percent"]) == (0, 3)
    assert a100["memory_reserved_bytes"] == 500_000_000
    assert a100["performance_state"] == 0


def test_limits_and_errors_by_card(lab: Lab) -> None:
    fit(lab, FULL_A100, H100, L4, T4)
    readings = lab.child().tick()["readings"]
    a100, h100, l4, t4 = (health(readings[uuid_of(index)]) for index in range(4))
    assert a100["nvlink_errors"] == [["crc_flit", 4], ["crc_data", 0], ["replay", 1],
                                     ["recovery", 0]]  # fmt: skip
    # By link, of the two that are up; the third kind is not counted by this card.
    assert h100["nvlink_errors"] == [["replay", 11], ["recovery", 1]]
    assert (h100["nvlink_active_links"], l4["nvlink_active_links"]) == (2, None)
    assert l4["nvlink_errors"] is None
    assert (a100["remapped_rows_corrected"], a100["remapped_rows_uncorrected"]) == (3, 1)
    assert (a100["remap_pending"], a100["remap_failed"]) == (False, False)
    assert (a100["retired_pages_corrected"], t4["retired_pages_corrected"]) == (None, 2)
    assert (t4["retired_pages_uncorrected"], t4["retirement_pending"]) == (1, False)
    assert t4["remapped_rows_corrected"] is None
    assert [a100[f"ecc_{kind}"] for kind in (
        "corrected_volatile", "uncorrected_volatile", "corrected_aggregate",
        "uncorrected_aggregate",
    )] == [2, 0, 12, 1]  # fmt: skip
    assert (a100["power_limit_mw"], a100["pcie_replays"], a100["fan_percent"]) == (400_000, 7, None)
    assert (a100["memory_max_celsius"], l4["memory_max_celsius"]) == (95, None)


@pytest.mark.parametrize(
    ("key", "name", "of"),
    [
        ("encoder", "encoder_utilization_percent", activity),
        ("decoder", "decoder_utilization_percent", activity),
        ("clock.1", "sm_clock_mhz", activity),
        ("clock.2", "memory_clock_mhz", activity),
        ("clock.3", "video_clock_mhz", activity),
        ("pstate", "performance_state", activity),
        ("reasons", "throttle_reasons", activity),
        ("field.82", "memory_temperature_celsius", activity),
        ("field.138", "nvlink_transmitted_bytes", activity),
        ("gpm.5", "tensor_utilization_percent", activity),
        ("threshold.0", "shutdown_celsius", health),
        ("threshold.1", "slowdown_celsius", health),
        ("ecc.0.0", "ecc_corrected_volatile", health),
        ("ecc.1.1", "ecc_uncorrected_aggregate", health),
        ("rows", "remapped_rows_corrected", health),
        ("rows", "remap_failed", health),
        ("pcie_replays", "pcie_replays", health),
        ("power_limit_mw", "power_limit_mw", health),
    ],
)
@pytest.mark.parametrize("refusal", ["!3", "!4", "!13", "!999"])
def test_a_refused_question_is_absent_and_takes_nothing_else_along(
    one_child: tuple[Lab, Any], key: str, name: str, of: Any, refusal: str
) -> None:
    lab, child = one_child
    fit(lab, {**H100, key: refusal}, FULL_A100)
    lab.driver(over=9)
    child.tick()
    lab.driver(over=None)
    child.tick(100)
    reading = child.tick()["readings"][FIRST]
    assert of(reading)[name] is None
    assert reading["utilization_percent"] == 100
    assert activity(reading)["sm_utilization_percent"] == 93.5


@pytest.fixture(scope="module")
def one_child(tmp_path_factory: pytest.TempPathFactory, libraries: dict[str, Any]) -> Any:
    lab = Lab(tmp_path_factory.mktemp("hardware"), libraries)
    lab.install()
    yield lab, lab.child()
    assert [child.end() for child in lab.children] == [0]


def test_an_unsupported_question_is_asked_again_after_a_new_session(lab: Lab) -> None:
    fit(lab, {**FULL_A100, "encoder": "!3"})
    child = lab.child()
    assert activity(child.tick()["readings"][FIRST])["encoder_utilization_percent"] is None
    lab.change(0, encoder=12)
    assert activity(child.tick()["readings"][FIRST])["encoder_utilization_percent"] is None
    lab.change(0, lost=15)
    child.tick()
    lab.change(0, lost=None)
    child.tick(60)
    assert activity(child.tick()["readings"][FIRST])["encoder_utilization_percent"] == 12


def test_processes_with_memory_and_their_share(lab: Lab) -> None:
    fit(lab, FULL_A100, {**FULL_A100, "processes": ""}, {**FULL_A100, "processes": None})
    readings = lab.child().tick()["readings"]
    assert readings[FIRST]["processes"] == [
        [4101, 30_000_000_000, 61, ""],
        [4102, 2_000_000_000, 0, ""],
    ]
    assert readings[SECOND]["processes"] == []
    assert readings[uuid_of(2)]["processes"] is None


@pytest.mark.parametrize("no_right", [0, 1])
def test_a_cut_h100_tells_of_each_instance(lab: Lab, no_right: int) -> None:
    fit(lab, {**cut(H100, 0), "no_right": no_right}, FULL_A100)
    child = lab.child()
    child.tick()
    reading = child.tick()["readings"][FIRST]
    slices, instances = reading["mig"]
    assert (slices, len(instances)) == (7, 7)
    assert instances[3] == [
        mig_uuid(0, 3), 10, 0, "1g.10gb", 1, 4 << 30, 9_728 << 20, 30, 28.5, 12.75, 9.0,
    ]  # fmt: skip
    assert reading["utilization_percent"] is None
    assert reading["samples"] is None
    assert activity(reading)["tensor_utilization_percent"] is None
    assert activity(reading)["mig_enabled"] is True
    assert [[one[0], one[3]] for one in reading["processes"]] == [
        [5000 + n, mig_uuid(0, n)] for n in range(7)
    ]


def test_mig_is_switched_on_cut_anew_and_switched_off_while_it_runs(lab: Lab) -> None:
    fit(lab, H100)
    child = lab.child()
    child.tick()
    assert activity(child.tick()["readings"][FIRST])["tensor_utilization_percent"] == 57.5
    fit(lab, cut(H100, 0, 2))
    child.tick()
    reading = child.tick()["readings"][FIRST]
    assert [one[0] for one in reading["mig"][1]] == [mig_uuid(0, 0), mig_uuid(0, 1)]
    assert reading["continuous"] is True
    assert reading["busy_ms"] is None
    # Other instances in the same places: the driver may hand out the same handles.
    lab.change(0, **{"mig0.uuid": mig_uuid(0, 8), "mig0.gi": 3, "mig0.ci": 1, "mig1.uuid": None})
    reading = child.tick()["readings"][FIRST]
    assert [one[:3] for one in reading["mig"][1]] == [[mig_uuid(0, 8), 3, 1]]
    fit(lab, H100)
    child.tick()
    reading = child.tick()["readings"][FIRST]
    assert reading["mig"] is None
    assert reading["utilization_percent"] == 100
    assert activity(reading)["tensor_utilization_percent"] == 57.5


def test_memory_of_a_shared_gpu_instance_is_counted_once(lab: Lab) -> None:
    gpu = cut(H100, 0, 3) | {"mig1.gi": 7, "mig1.ci": 1}
    fit(lab, gpu)
    instances = lab.child().tick()["readings"][FIRST]["mig"][1]
    assert [(one[1], one[2], one[5]) for one in instances] == [
        (7, 0, 1 << 30), (7, 1, None), (9, 0, 3 << 30),
    ]  # fmt: skip


def test_an_old_driver_answers_what_it_knows(bare_lab: Lab) -> None:
    fit(bare_lab, H100)
    bare_lab.install("old")
    child = bare_lab.child()
    child.tick()
    reading = child.tick()["readings"][FIRST]
    assert activity(reading)["sm_utilization_percent"] is None
    assert activity(reading)["throttle_reasons"] == ["sw_power_cap"]
    assert activity(reading)["memory_reserved_bytes"] is None
    assert health(reading)["ecc_corrected_volatile"] == 2


def test_utilisation_is_counted_sample_by_sample(lab: Lab) -> None:
    child = lab.child()
    for percent in (0, 100, 100, 40, 76):
        lab.change(0, utilization=percent, reasons=5)
        reading = child.tick()["readings"][FIRST]
    counts, total = reading["samples"]
    assert counts == [1, 1, 1, 2, 2, 3, 5]
    assert total == 316
    assert reading["extremes"] == [0, 100, 63.2]
    assert dict(reading["throttled_ms"]) == {"gpu_idle": 4_000, "sw_power_cap": 4_000}
