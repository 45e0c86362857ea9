"""The agent's page, read by prometheus_client's own parsers."""

from __future__ import annotations

import shutil
import subprocess
import zlib

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

from costmeter.agent.page import Page, answer, number
from costmeter.metrics.catalog import FAMILIES

ODD = 'a"b\\c\nd'
SAMPLES = [
    ("costmeter_agent_gpus", (), 2),
    ("gpu_energy_joules_total", ("n", "0", "GPU-1", ODD), 1.5),
    ("gpu_energy_joules_total", ("n", "1", "GPU-2", "A100"), 3),
    ("gpu_lost_total", ("n", "GPU-1"), 0.1 + 0.2),
]


def test_both_forms_are_read_as_they_were_meant() -> None:
    page = Page()
    for parse, form in ((plain, False), (openmetrics, True)):
        families = {one.name: one for one in parse(page.render(SAMPLES, form).decode())}
        energy = families["gpu_energy_joules"]
        assert energy.type == "counter"
        assert [(one.labels["gpu_model"], one.value) for one in energy.samples] == [
            (ODD, 1.5),
            ("A100", 3.0),
        ]
        assert families["gpu_lost"].samples[0].value == 0.1 + 0.2
        assert families["costmeter_agent_gpus"].samples[0].value == 2


def test_some_families_can_be_asked_for() -> None:
    body = Page().render(SAMPLES, False, ["gpu_lost"]).decode()
    assert [line.split("{")[0] for line in body.splitlines() if line[0] != "#"] == [
        "gpu_lost_total"
    ]


def test_a_sample_that_is_not_as_the_catalog_says_costs_only_itself(
    caplog: pytest.LogCaptureFixture,
) -> None:
    page = Page()
    wrong = [("gpu_unheard_of", (), 1), ("gpu_lost_total", ("one label",), 1)]
    for _ in range(3):
        assert page.render([*wrong, *SAMPLES], False) == page.render(SAMPLES, False)
    assert [record.args[0] for record in caplog.records] == [name for name, _, _ in wrong]


def test_gzip_is_given_when_it_is_asked_for() -> None:
    body, kind, headers = answer(Page(), SAMPLES, "text/plain", "gzip", ())
    assert ("content-encoding", "gzip") in headers
    assert kind.startswith("text/plain; version=0.0.4")
    assert zlib.decompress(body, 31) == answer(Page(), SAMPLES, "", "", ())[0]


def test_numbers_are_exact() -> None:
    for value in (0, 12, 1.5, 2.0, 1e22, 1e-9, 123456789.125, float("inf")):
        assert float(number(value)) == value
    assert number(2.0) == "2"


def test_promtool_finds_nothing_to_say_about_any_family() -> None:
    promtool = shutil.which("promtool")
    assert promtool is not None, "install the package prometheus (Debian, Ubuntu)"
    samples: list[tuple[str, tuple[str, ...], float]] = []
    # The one name that promtool dislikes is older than this exporter.
    theirs = [
        f for f in FAMILIES if f.source in ("agent", "gpu") and f.name != "gpu_instance_count"
    ]
    for family in theirs:
        labels = tuple("x" for _ in family.labels)
        if family.kind == "histogram":
            samples += [(f"{family.name}_bucket", (*labels, le), 1) for le in ("0.5", "+Inf")]
            samples += [(f"{family.name}_count", labels, 1), (f"{family.name}_sum", labels, 0.5)]
        else:
            samples.append((family.name, labels, 1))
    page = Page().render(samples, False)
    assert {one.name for one in plain(page.decode())} == {
        family.name.removesuffix("_total") if family.kind == "counter" else family.name
        for family in theirs
    }
    judged = subprocess.run([promtool, "check", "metrics"], input=page, capture_output=True)
    assert (judged.returncode, judged.stdout, judged.stderr) == (0, b"", b"")
