"""The demonstration from the first call to the end: calls, an agent that runs away, pages."""

from __future__ import annotations

import queue
import re
import time

from costmeter.demo.children import Stop, Trouble, fetch
from costmeter.demo.feed import Feed
from costmeter.demo.scene import Scene
from costmeter.demo.screen import Screen
from costmeter.demo.stage import Stage
from costmeter.demo.trace import RUNAWAY
from costmeter.model import NANO_PER_USD
from costmeter.pricing import PriceBook

#: The ordinary day goes on for so long before the agent runs away: Prometheus needs some
#: seconds to find its targets, and whoever watches needs something to compare with.
_CALM_SECONDS = 8.0
_TICK_SECONDS = 0.5
_SPENT = re.compile(r'^llm_budget_spent\{[^}]*budget="([^"]+)"[^}]*\} (\S+)$', re.MULTILINE)


class Play:
    """One run; `first_page_seconds` is when the first page arrived, from the start."""

    def __init__(
        self, stage: Stage, scene: Scene, screen: Screen, stop: Stop, book: PriceBook
    ) -> None:
        self._stage, self._scene, self._screen, self._stop = stage, scene, screen, stop
        self._began = time.monotonic()
        now_ms = time.time_ns() // 1_000_000
        url = f"http://{stage.exporter_at}"
        self._metrics = f"{url}/metrics?name[]=llm_budget_spent"
        self._feed = Feed(url, scene, book, f"demo-{now_ms}", now_ms)
        self._share = scene.spent_nano / scene.tight.limit_nano
        self._crossed_seconds: float | None = None
        self._gone: set[str] = set()
        self.first_page_seconds: float | None = None

    @property
    def lost_a_program(self) -> bool:
        return bool(self._gone)

    def run(self, duration: float | None) -> None:
        """Until `duration` seconds after the start. Raises Trouble, or Stopped."""
        while duration is None or self._screen.seconds < duration:
            self._stop.pause(_TICK_SECONDS)
            self._programs()
            self._calls()
            self._budget()
            self._messages()
            self._screen.progress(self._state())
        self._screen.step(f"--duration {duration:g} is over")

    def _programs(self) -> None:
        """Say what ended by itself; without the exporter there is nothing left to show."""
        for child in self._stage.children:
            if not child.ended or child.name in self._gone:
                continue
            if child is self._stage.exporter:
                raise Trouble(child.end())
            self._gone.add(child.name)
            self._screen.note(f"{child.end()}\nthe rest goes on without it")

    def _calls(self) -> None:
        now_ms = time.time_ns() // 1_000_000
        if not self._feed.agent_started and time.monotonic() - self._began > _CALM_SECONDS:
            self._feed.start_agent(now_ms)
            self._screen.step(
                f"an agent of tenant {RUNAWAY.tenant_id} runs in a loop on {RUNAWAY.model}"
            )
        self._feed.send(now_ms)

    def _budget(self) -> None:
        page = fetch(self._metrics)
        spent = dict(_SPENT.findall((page or b"").decode()))
        tight = self._scene.tight
        if tight.name not in spent:
            return
        self._share = float(spent[tight.name]) / (tight.limit_nano / NANO_PER_USD)
        if self._share > 1 and self._crossed_seconds is None:
            self._crossed_seconds = self._screen.seconds
            self._screen.step(f"budget {tight.name} is crossed")

    def _messages(self) -> None:
        assert self._stage.receiver is not None
        while True:
            try:
                message = self._stage.receiver.messages.get_nowait()
            except queue.Empty:
                return
            self._screen.message(message)
            if message.is_page and self.first_page_seconds is None:
                self.first_page_seconds = self._screen.seconds
                self._screen.step(f"the first page came {self._took()}")

    def _took(self) -> str:
        text = f"{self.first_page_seconds:.0f} s after the start"
        if self._crossed_seconds is not None and self.first_page_seconds is not None:
            after = self.first_page_seconds - self._crossed_seconds
            text += f", {after:.0f} s after the budget was crossed"
        return text

    def _state(self) -> str:
        tight = self._scene.tight
        limit = tight.limit_nano // NANO_PER_USD
        budget = f"budget {tight.name} {self._share:.1%} of {limit:,} USD".replace("%", " %")
        if self.first_page_seconds is None and self._stage.can_page:
            return f"waiting for the first page: {budget}"
        return f"{self._feed.sent:,} calls sent, {budget}; Ctrl-C ends the demo"
