"""Model servers in pods of the fleet: how much they serve follows how busy their GPU is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from costmeter.clock import Clock
from costmeter.gpu.figures import Figures
from costmeter.gpu.serving.economics import Match
from costmeter.gpu.serving.reader import Sample, Serving, Target
from costmeter.segment import Owner


@dataclass
class ModelServer:
    """Tokens a second on a GPU that is fully busy, and tokens of a request."""

    owner: Owner
    engine: str
    model: str
    prompt_rate: int
    output_rate: int
    prompt_of_one: int
    prompt: float = 0
    output: float = 0

    @property
    def target(self) -> Target:
        match = Match(self.owner.namespace, self.owner.pod)
        return Target(f"http://{self.owner.pod}:8000/metrics", match=match)

    def serve(self, load: float, seconds: float) -> None:
        self.prompt += self.prompt_rate * load * seconds
        self.output += self.output_rate * load * seconds

    def page(self) -> str:
        of = f'{{model_name="{self.model}"}}'
        requests = "request_success" if self.engine == "vllm" else "num_requests"
        return (
            f"{self.engine}:prompt_tokens_total{of} {round(self.prompt)}\n"
            f"{self.engine}:generation_tokens_total{of} {round(self.output)}\n"
            f"{self.engine}:{requests}_total{of} {round(self.prompt / self.prompt_of_one)}\n"
        )


#: What each server of a node answers with, in turn.
_SERVED = (
    ("vllm", "qwen2.5-32b", 3_000, 900, 1_400),
    ("vllm", "qwen2.5-32b", 3_000, 900, 1_400),
    ("sglang", "llama-3.1-8b", 21_000, 4_200, 2_600),
)


class ModelServers:
    """Those of one node, by the uuid of their GPU, and who reads them there."""

    def __init__(
        self, owners: Mapping[str, Owner], figures: Callable[[], Figures], clock: Clock
    ) -> None:
        self._of = {
            uuid: ModelServer(owner, *served)
            for (uuid, owner), served in zip(owners.items(), _SERVED, strict=False)
        }
        pages = {server.target.url: server.page for server in self._of.values()}
        targets = [server.target for server in self._of.values()]
        self._serving = Serving(targets, figures, clock, get=lambda url, _: pages[url]())

    def serve(self, uuid: str, percent: int | None, seconds: float) -> None:
        if uuid in self._of:
            self._of[uuid].serve((percent or 0) / 100, seconds)

    def look(self) -> None:
        self._serving.tick()

    def samples(self, node: str) -> Iterator[Sample]:
        return self._serving.samples(node)
