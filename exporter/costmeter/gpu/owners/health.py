"""How attribution fares, as plain figures for whoever makes metrics of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class OwnersHealth:
    """One moment. Times are Unix milliseconds, None for never; counts are since the start.

    `mode` is the way that was chosen. `problem` says in plain words why owners are not
    known as they should be, "" when all is well. The keys of `requests` are `kubelet`,
    `pods`, `watch`, `node` and `slices`; those of `errors` are (one of these, reason).
    `unresolved_devices` are held by pods and are none of the GPUs that were seen.
    `unknown_pods` hold GPUs and are not known at the API server.
    """

    mode: str
    problem: str = ""
    kubelet_success_ms: int | None = None
    pods_success_ms: int | None = None
    requests: Mapping[str, int] = field(default_factory=dict)
    errors: Mapping[tuple[str, str], int] = field(default_factory=dict)
    watch_restarts: int = 0
    holders: int = 0
    allocatable_devices: int | None = None
    unresolved_devices: int = 0
    unknown_pods: int = 0
    processes: int = 0


class Counts:
    """Requests and errors by subject; each subject is counted by one thread."""

    def __init__(self) -> None:
        self._requests: dict[str, int] = {}
        self._errors: dict[tuple[str, str], int] = {}

    def request(self, subject: str) -> None:
        self._requests[subject] = self._requests.get(subject, 0) + 1

    def error(self, subject: str, reason: str) -> None:
        key = (subject, reason)
        self._errors[key] = self._errors.get(key, 0) + 1

    def requests(self) -> dict[str, int]:
        return dict(self._requests)

    def errors(self) -> dict[tuple[str, str], int]:
        return dict(self._errors)
