"""Every five minutes: what a token of a self-hosted model costs, out of the ledger."""

from __future__ import annotations

from collections.abc import Sequence

from costmeter.clock import Clock
from costmeter.config.serving import ServedModel
from costmeter.engine.jobs import Job
from costmeter.engine.schedule import Every
from costmeter.ledger.serving import Served, served
from costmeter.ledger.store import Store
from costmeter.model import MS_PER_DAY
from costmeter.tally import Tally

JOB = "serving"
COST, ENERGY, REQUESTS = (
    "llm_cost_per_million_tokens",
    "llm_energy_joules_per_token",
    "llm_requests_per_gpu_hour",
)
#: GPU time comes by the minute, and from agents with some delay.
_SETTLED_MS = 300_000


class ServingCosts:
    """Sets the calls of each model of the last 24 hours against the GPUs that serve it."""

    def __init__(
        self, models: Sequence[ServedModel], store: Store, clock: Clock, tally: Tally
    ) -> None:
        self._models = models
        self._store = store
        self._clock = clock
        self._tally = tally

    def jobs(self) -> Sequence[Job]:
        if not self._models:
            return ()
        about = "sets the tokens of self-hosted models against the cost of their GPUs"
        return (Job(JOB, Every(300), self.run, about, beside=True),)

    def run(self) -> str:
        """Read beside the writer, and show; raises what the database raises."""
        until_ms = self._clock.now_ms() - _SETTLED_MS
        connection = self._store.reader()
        try:
            for model in self._models:
                found = served(connection, model.calls, model.gpus, until_ms - MS_PER_DAY, until_ms)
                self._show(model, found)
        finally:
            connection.close()
        return ""

    def _show(self, model: ServedModel, found: Served) -> None:
        labels = (model.provider, model.model, model.tenant_id, model.environment)
        for basis, nano in (("allocation", found.held_nano), ("usage", found.used_nano)):
            per_million = found.nano_per_million(nano)
            value = None if per_million is None else per_million / 10**9
            self._set(COST, (*labels, basis), value)
        self._set(ENERGY, labels, found.joules_per_token)
        self._set(REQUESTS, labels, found.requests_per_gpu_hour)

    def _set(self, name: str, labels: tuple[str, ...], value: float | None) -> None:
        if value is None:
            self._tally.forget(name, *labels)
        else:
            self._tally.set(name, *labels, to=value)
