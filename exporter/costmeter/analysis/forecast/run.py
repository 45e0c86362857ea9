"""The engine's side of the worker: start it, feed it, end it. No numpy here."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys

from msgspec import Struct

from costmeter.analysis.forecast.results import Forecast
from costmeter.analysis.forecast.wire import Request, encode, unpack

#: Below everything that serves: a forecast can wait.
_NICE = 10
#: One core is what a worker may take; its libraries read this when they are imported.
_ONE_CORE = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NIXTLA_NUM_CORES")
_MODULE = "costmeter.analysis.forecast.worker"


class WorkerError(Exception):
    """No forecasts came: why, in a sentence for a log line."""


class Answer(Struct, frozen=True):
    """Forecasts in the order of the request's series; `note` says what was left undone."""

    forecasts: tuple[Forecast, ...]
    note: str


def run_worker(request: Request, timeout: float) -> Answer:
    """Forecast in a process of its own, at low priority, killed after `timeout` seconds.

    Blocks: call it from a thread. WorkerError where it fails, is killed or answers nonsense;
    ValueError where the request is too large.
    """
    if not request.series:
        return Answer((), "")
    body = b"".join(encode(request))
    process = subprocess.Popen(  # noqa: S603 - our own module, no shell
        [sys.executable, "-m", _MODULE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **dict.fromkeys(_ONE_CORE, "1")},
    )
    # Not preexec_fn: the engine has threads, and a fork that runs Python could hang.
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, process.pid, _NICE)
    try:
        out, errors = process.communicate(body, timeout=timeout)
    except subprocess.TimeoutExpired:
        raise WorkerError(
            f"the forecast worker was stopped after {timeout:g} s with "
            f"{len(request.series)} series; give it longer or fewer"
        ) from None
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    said = errors.decode(errors="replace").strip()
    if process.returncode:
        last = said.splitlines()[-1] if said else f"exit code {process.returncode}"
        raise WorkerError(f"the forecast worker failed: {last}")
    try:
        found = tuple(unpack(out))
    except (ValueError, KeyError, TypeError) as error:
        raise WorkerError(f"the forecast worker's answer is not readable: {error}") from None
    if len(found) != len(request.series):
        raise WorkerError(f"{len(found)} forecasts came for {len(request.series)} series")
    return Answer(found, said)
