"""This machine's GPUs in `serve`, loaded behind the first answers.

The driver's binding, attribution and the meter are a tenth of all that `serve` imports, and a
scrape has no use for them before the first sample.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

from costmeter.clock import Clock
from costmeter.config import Config
from costmeter.ledger.writer import Writer
from costmeter.metrics.gpu import GpuCollector

if TYPE_CHECKING:
    from costmeter.engine.node_gpus import NodeGpus
    from costmeter.gpu.readings import GpuState
    from costmeter.metrics.gpu_samples import Figures, Sample

_log = logging.getLogger("costmeter.gpu")

#: So long the first answers have the interpreter to themselves.
_BEHIND_SECONDS = 0.5


class Gpus:
    """`start` loads and samples, `stop` ends what is open; what is closed is still to be booked."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._node: NodeGpus | None = None
        self._stopping = threading.Event()
        self._loading = threading.Thread(target=self._load, name="costmeter-gpus", daemon=True)
        node = config.gpu.node(os.environ)
        self.collector = GpuCollector(self._state, node, self._figures, self._serving)

    def start(self) -> None:
        self._loading.start()

    def stop(self) -> None:
        self._stopping.set()
        node = self._loaded()
        if node is not None:
            node.stop()

    def reload(self, config: Config) -> None:
        """Estimate by these prices from now on. Raises PriceFileError, changing nothing."""
        node = self._loaded()
        if node is not None:
            node.reload(config)

    def book(self, writer: Writer, timeout_seconds: float | None = None) -> str:
        """Book what is closed."""
        node = self._node
        return "" if node is None else node.book(writer, timeout_seconds)

    def _load(self) -> None:
        if self._stopping.wait(_BEHIND_SECONDS):
            return
        try:
            from costmeter.engine.node_gpus import NodeGpus

            node = NodeGpus(self._config, self._clock)
            node.start()
        except Exception:  # noqa: BLE001 - whatever it is, the rest goes on
            _log.exception("GPUs are not metered; restart costmeter when it is mended")
        else:
            self._node = node

    def _loaded(self) -> NodeGpus | None:
        if self._loading.ident is not None:
            self._loading.join()
        return self._node

    def _state(self) -> GpuState | None:
        node = self._node
        return None if node is None else node.sampler.state()

    def _serving(self, node: str) -> Iterable[Sample]:
        here = self._node
        return () if here is None or here.serving is None else here.serving.samples(node)

    def _figures(self) -> Figures:
        # Asked only where there is a state.
        assert self._node is not None
        return self._node.meter.figures()
