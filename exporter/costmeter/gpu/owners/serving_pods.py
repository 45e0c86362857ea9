"""Pods that show metrics, by the annotations that say where."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from costmeter.gpu.owners.pods import Pod

#: `8000`, or `8000/metrics`.
OWN = "costmeter.dev/metrics"
_SCRAPE, _PORT, _PATH = "prometheus.io/scrape", "prometheus.io/port", "prometheus.io/path"
NAMES = frozenset({OWN, _SCRAPE, _PORT, _PATH})
_PATH_LENGTH = 256


class ServingPod(NamedTuple):
    """A pod that holds a GPU and may tell how many tokens it served. `model` may be empty."""

    namespace: str
    pod: str
    url: str
    model: str = ""


def serving_pod(pod: Pod, model_labels: tuple[str, ...]) -> ServingPod | None:
    """None for a pod without an address, or whose annotations name no port."""
    port, path = _place(pod.labels)
    if not pod.address or pod.done or not port.isascii() or not port.isdigit():
        return None
    if not 0 < int(port) < 65_536 or not _is_path(path):
        return None
    host = f"[{pod.address}]" if ":" in pod.address else pod.address
    model = next((text for name in model_labels if (text := pod.labels.get(name, ""))), "")
    return ServingPod(pod.namespace, pod.name, f"http://{host}:{port}{path}", model)


def _place(labels: Mapping[str, str]) -> tuple[str, str]:
    own = labels.get(OWN, "").strip()
    if own:
        port, slash, path = own.partition("/")
        return port, f"/{path}" if slash else "/metrics"
    if labels.get(_SCRAPE, "").lower() == "true":
        return labels.get(_PORT, "").strip(), labels.get(_PATH, "").strip() or "/metrics"
    return "", ""


def _is_path(path: str) -> bool:
    return (
        path.startswith("/")
        and len(path) <= _PATH_LENGTH
        and path.isascii()
        and path.isprintable()
        and not set(path) & set(" #@\\")
    )
