"""Senders that do not give up: batches, retries of the same ids, and a record of all of it."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from fakes.exporter import Exporter, call

#: USD per million tokens, with an odd price, so that rounding is part of the game.
PRICES = {
    "even": {"input": Decimal("2.5"), "output": Decimal(10)},
    "odd": {"input": Decimal("0.0333"), "output": Decimal("0.777")},
}
PRICE_FILE = "prices:\n" + "".join(
    f"  - {{provider: test, model: {model}, source: test,\n"
    f"     usd_per_million: {{input: '{price['input']}', output: '{price['output']}'}}}}\n"
    for model, price in PRICES.items()
)


def cost(event: dict[str, Any]) -> int:
    """Nano-USD: each class rounded half-even once, then added up."""
    price = PRICES[event["model"]]
    return sum(
        int((amount * price[name] * 1000).quantize(Decimal(1), ROUND_HALF_EVEN))
        for name, amount in event["tokens"].items()
    )


@dataclass
class Record:
    """What the senders know: `sure` was acknowledged, `unsure` was sent and not answered."""

    sure: dict[str, dict[str, Any]] = field(default_factory=dict)
    unsure: dict[str, dict[str, Any]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    resent: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def sent(self, batch: Sequence[dict[str, Any]]) -> None:
        with self.lock:
            self.unsure.update((event["request_id"], event) for event in batch)

    def acknowledged(self, batch: Sequence[dict[str, Any]]) -> None:
        with self.lock:
            for event in batch:
                self.unsure.pop(event["request_id"], None)
                self.sure[event["request_id"]] = event


class Sender(threading.Thread):
    """Posts batches until `stop`; what failed is sent again, or now and then given up."""

    def __init__(
        self, exporter: Exporter, record: Record, seed: str, *, late_seconds: float = 0
    ) -> None:
        super().__init__(name=f"sender {seed}", daemon=True)
        self._exporter = exporter
        self._record = record
        self._random = random.Random(seed)
        self._seed = seed
        self._late_seconds = late_seconds
        self._number = 0
        self._stopping = threading.Event()

    def stop(self) -> None:
        self._stopping.set()
        self.join(60)
        assert not self.is_alive()

    def run(self) -> None:
        done: list[list[dict[str, Any]]] = []
        while not self._stopping.is_set():
            if done and self._random.random() < 0.2:
                batch, known = self._random.choice(done), True
            else:
                batch, known = self._batch(), False
                self._record.sent(batch)
            while not self._stopping.is_set():
                if self._post(batch, known=known):
                    done.append(batch)
                    break
                if self._random.random() < 0.1:
                    break  # a sender that gives up
                time.sleep(self._random.uniform(0, 0.1))

    def _post(self, batch: list[dict[str, Any]], *, known: bool) -> bool:
        try:
            answer = self._exporter.post(batch)
        except (OSError, http.client.HTTPException):
            return False
        if answer.status == 503:
            return False
        said = answer.json() if answer.status == 200 else {}
        if answer.status != 200 or said["rejected"]:
            self._record.problems.append(f"{answer.status}: {answer.text}")
            return False
        if said["accepted"] + said["duplicate"] != len(batch):
            self._record.problems.append(f"{len(batch)} events, {said}")
        if known and said["accepted"]:
            self._record.problems.append(f"acknowledged before and accepted again: {said}")
        if known:
            self._record.resent += len(batch)
        self._record.acknowledged(batch)
        return True

    def _batch(self) -> list[dict[str, Any]]:
        return [self._event() for _ in range(self._random.choice([1, 3, 20, 60]))]

    def _event(self) -> dict[str, Any]:
        pick = self._random
        self._number += 1
        late = self._late_seconds > 0 and pick.random() < 0.1
        return call(
            f"{self._seed}-{self._number}",
            at=time.time() - (self._late_seconds if late else 0),
            provider="test",
            model=pick.choice(sorted(PRICES)),
            tenant_id="late" if late else f"t{pick.randrange(4)}",
            environment="prod",
            tokens={"input": pick.randrange(1, 90_000), "output": pick.randrange(1, 9_000)},
        )


class Watcher(threading.Thread):
    """Scrapes several times a second; remembers the largest value and names every fall."""

    def __init__(self, exporter: Exporter) -> None:
        super().__init__(name="watcher", daemon=True)
        self._exporter = exporter
        self._stopping = threading.Event()
        self.largest: dict[Any, float] = {}
        self.falls: list[str] = []
        self.pages = 0

    def stop(self) -> None:
        self._stopping.set()
        self.join(60)
        assert not self.is_alive()

    def run(self) -> None:
        while not self._stopping.wait(0.1):
            try:
                page = self._exporter.metrics()
            except (OSError, http.client.HTTPException):
                continue
            self.pages += 1
            for key, value in page.starting_with("llm_").items():
                if not key[0].endswith("_total"):
                    continue
                before = self.largest.get(key, 0.0)
                if value < before:
                    self.falls.append(f"{key}: {before} -> {value}")
                self.largest[key] = value
