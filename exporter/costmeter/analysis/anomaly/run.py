"""The engine's side of the worker: start it, feed it, end it. No numpy here."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys

from costmeter.analysis.anomaly.shapes import Detection
from costmeter.analysis.anomaly.wire import read_reply

#: Below everything that serves: findings can wait.
_NICE = 10
_MODULE = "costmeter.analysis.anomaly.worker"


class DetectionError(Exception):
    """Nothing was found out: why, in a sentence for a log line."""


def run_worker(request: bytes, timeout: float) -> Detection:
    """Detect in a process of its own, at low priority, killed after `timeout` seconds.

    `request` is what `wire.write_request` makes. Blocks: call it from a thread. DetectionError
    where it fails, is killed or answers nonsense.
    """
    process = subprocess.Popen(  # noqa: S603 - our own module, no shell
        [sys.executable, "-m", _MODULE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, process.pid, _NICE)
    try:
        out, errors = process.communicate(request, timeout=timeout)
    except subprocess.TimeoutExpired:
        raise DetectionError(
            f"the anomaly worker was stopped after {timeout:g} s; give it longer "
            "(anomalies.timeout_seconds) or fewer scopes (anomalies.most_scopes)"
        ) from None
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    if process.returncode:
        said = errors.decode(errors="replace").strip().splitlines()
        last = said[-1] if said else f"exit code {process.returncode}"
        hint = "; install numpy where costmeter is" if "No module named 'numpy'" in last else ""
        raise DetectionError(f"the anomaly worker failed: {last}{hint}")
    try:
        return read_reply(out)
    except (ValueError, KeyError, TypeError) as error:
        raise DetectionError(f"the anomaly worker's answer is not readable: {error}") from None
