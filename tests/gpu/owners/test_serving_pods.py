"""Which pods are asked for their tokens, and where."""

from __future__ import annotations

import pytest

from costmeter.gpu.owners.pods import Pod
from costmeter.gpu.owners.serving_pods import ServingPod, serving_pod

MODELS = ("costmeter.dev/model",)


def of(address: str = "10.0.0.7", *, done: bool = False, **labels: str) -> str | None:
    names = {name.replace("__", "/").replace("_", "."): text for name, text in labels.items()}
    pod = Pod("ml", "chat-0", "uid", names, done, address=address)
    found = serving_pod(pod, MODELS)
    return None if found is None else found.url


def test_the_annotations_of_both_kinds() -> None:
    assert of(costmeter_dev__metrics="8000") == "http://10.0.0.7:8000/metrics"
    assert of(costmeter_dev__metrics="8000/v1/metrics") == "http://10.0.0.7:8000/v1/metrics"
    prometheus = {"prometheus_io__scrape": "true", "prometheus_io__port": "30000"}
    assert of(**prometheus) == "http://10.0.0.7:30000/metrics"
    assert of(**prometheus, prometheus_io__path="/m") == "http://10.0.0.7:30000/m"
    assert of("fd00::7", **prometheus) == "http://[fd00::7]:30000/metrics"


@pytest.mark.parametrize(
    "labels",
    [
        {},
        {"prometheus_io__port": "8000"},
        {"prometheus_io__scrape": "false", "prometheus_io__port": "8000"},
        {"prometheus_io__scrape": "true"},
        {"costmeter_dev__metrics": "0"},
        {"costmeter_dev__metrics": "65536"},
        {"costmeter_dev__metrics": "80@elsewhere"},
        {"costmeter_dev__metrics": "80/a b"},
        {"costmeter_dev__metrics": "80/a#b"},
        {"costmeter_dev__metrics": "٣"},
        {"costmeter_dev__metrics": "80/" + "a" * 300},
    ],
)
def test_what_names_no_place_is_not_asked(labels: dict[str, str]) -> None:
    assert of(**labels) is None


def test_a_pod_that_is_over_or_has_no_address_is_not_asked() -> None:
    assert of("", costmeter_dev__metrics="8000") is None
    assert of(costmeter_dev__metrics="8000", done=True) is None


def test_the_models_label_names_it() -> None:
    labels = {"costmeter.dev/metrics": "8000", "costmeter.dev/model": "chat"}
    found = serving_pod(Pod("ml", "chat-0", "uid", labels, address="10.0.0.7"), MODELS)
    assert found == ServingPod("ml", "chat-0", "http://10.0.0.7:8000/metrics", "chat")
