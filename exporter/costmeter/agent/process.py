"""`costmeter agent` from its start to a clean end.

It listens first: the driver, prices and the way to the cluster are loaded in a thread
behind the first answers.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from costmeter import __version__
from costmeter.agent.access import Access
from costmeter.agent.app import Application
from costmeter.agent.forwarding import Forwarding
from costmeter.agent.http import HttpServer
from costmeter.agent.listening import CannotListen
from costmeter.agent.own import own_samples
from costmeter.agent.page import Sample
from costmeter.agent.spool_file import InUse
from costmeter.clock import SystemClock
from costmeter.config.agent import AgentConfig
from costmeter.config.problems import ConfigError
from costmeter.tally import Tally

if TYPE_CHECKING:
    from costmeter.agent.gpus import NodeGpus
    from costmeter.config.web_config import WebConfig

_log = logging.getLogger("costmeter.agent")

#: How often closed segments are taken to the disk.
SPOOL_SECONDS = 1.0
#: What may be sent at the end; the rest waits on the disk for the next start.
STOP_SECONDS = 5.0
_AT_ONCE = 500

Load = Callable[[], AgentConfig]


class Agent:
    """Everything behind the web server. Construct, `start`, `stop`."""

    def __init__(self, config: AgentConfig) -> None:
        """Takes the spool's folder; raises InUse when another agent has it."""
        self.config = config
        self.node = config.gpu.node(os.environ)
        self.tally = Tally()
        self._clock = SystemClock()
        self._started_ms = self._clock.now_ms()
        self._forwarding = Forwarding(config.forward, self._clock, self.tally)
        self._gpus: NodeGpus | None = None
        self._problem = ""
        self._faults: set[type[Exception]] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="costmeter-spool", daemon=True)
        self.configured(succeeded=True)
        self.tally.set("costmeter_agent_forwarding", to=float(self._forwarding.on))

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End what is open, keep it on the disk, send what can be sent in five seconds."""
        self._stop.set()
        self._thread.join(STOP_SECONDS)
        gpus = self._gpus
        if gpus is not None:
            gpus.stop()
            self._keep(gpus)
        self._forwarding.stop(STOP_SECONDS)

    def _run(self) -> None:
        """Load what is heavy, then take closed segments to the spool every second."""
        gpus = self._load()
        self._forwarding.start()
        # What is alive now stays alive: the collector need not walk through it again.
        gc.enable()
        gc.collect()
        gc.freeze()
        while not self._stop.wait(SPOOL_SECONDS):
            try:
                if gpus is not None:
                    gpus.follow()
                    self._keep(gpus)
                self._forwarding.flush()
            except Exception:  # noqa: BLE001 - this thread has to go on
                _log.exception("GPU time could not be kept; it is tried again")

    def _load(self) -> NodeGpus | None:
        if self.config.gpu.enabled == "false":
            self.tally.set("costmeter_agent_gpus", to=0)
            self._problem = "GPUs are not sampled (gpu.enabled: false)"
            _log.info("%s", self._problem)
            return None
        try:
            from costmeter.agent.gpus import NodeGpus

            gpus = NodeGpus(
                self.config.gpu, self.config.prices.files, self._clock, self._forwarding.folder
            )
        except Exception as error:  # noqa: BLE001 - the page must say it, not the process end
            self._problem = f"GPUs cannot be metered: {error}"
            self.tally.set("costmeter_agent_gpus", to=0)
            _log.error("%s", self._problem)
            return None
        gpus.start()
        self._gpus = gpus
        return gpus

    def _keep(self, gpus: NodeGpus) -> None:
        while segments := gpus.meter.drain(_AT_ONCE):
            self._forwarding.keep(segments)
            gpus.meter.confirm(len(segments))

    def samples(self) -> Iterator[Sample]:
        yield from own_samples(self.tally, self._started_ms)
        yield from self._forwarding.samples()
        try:
            if self._gpus is not None:
                yield from self._gpus.samples()
        except Exception as error:  # noqa: BLE001 - the rest of the page is shown
            if type(error) not in self._faults:
                self._faults.add(type(error))
                _log.exception("GPU metrics are missing from /metrics")

    def facts(self) -> Sequence[str]:
        facts = [f"{self._problem}."] if self._problem else []
        if self._gpus is not None:
            facts += self._gpus.facts()
        elif not self._problem:
            facts.append("The GPUs are being looked for.")
        return [*facts, *self._forwarding.facts()]

    def unready(self) -> Sequence[str]:
        if self._problem or (self._gpus is not None and self._gpus.sampler.state() is not None):
            return ()
        return ("the first sample is being taken",)

    def reload(self, config: AgentConfig) -> str:
        """Put what can be changed in force; one line about what needs a restart."""
        old, self.config = self.config, config
        if self._gpus is not None and config.gpu.placement(os.environ) != old.gpu.placement(
            os.environ
        ):
            self._gpus.follow(config.gpu.placement(os.environ))
        self.configured(succeeded=True)
        fixed = [
            key
            for key, changed in (
                ("gpu", _without_placement(old) != _without_placement(config)),
                ("prices", old.prices != config.prices),
                ("forward", old.forward != config.forward),
                ("web.listen_address", old.web.listen_address != config.web.listen_address),
            )
            if changed
        ]
        return f"changes of {', '.join(fixed)} take effect at the next start" if fixed else ""

    def configured(self, *, succeeded: bool) -> None:
        """Tell in a metric whether the newest configuration is the running one."""
        self.tally.set("costmeter_agent_config_reload_success", to=float(succeeded))
        if succeeded:
            self.tally.set(
                "costmeter_agent_config_reload_success_timestamp_seconds",
                to=self._clock.now_ms() / 1000,
            )


def _without_placement(config: AgentConfig) -> tuple[object, ...]:
    gpu = config.gpu
    return (gpu.enabled, gpu.sample_seconds, gpu.segment_seconds, gpu.owners, gpu.workloads,
            gpu.kubernetes, gpu.energy, gpu.serving, gpu.serving_seconds,
            gpu.serving_window_seconds)  # fmt: skip


def run_agent(config: AgentConfig, load: Load, set_up_logging: Callable[[str, str], None]) -> int:
    """Until SIGTERM or SIGINT; 1 when it cannot start. Raises ConfigError."""
    for warning in config.warnings:
        _log.warning("%s", warning)
    web = _web(config)
    try:
        agent = Agent(config)
    except InUse as error:
        print(f"costmeter: {error}", file=sys.stderr)
        return 1
    return asyncio.run(_serve(agent, web, load, set_up_logging))


def _web(config: AgentConfig) -> WebConfig | None:
    if config.web.config_file is None:
        return None
    from costmeter.config.web_config import load_web_config

    return load_web_config(config.web.config_file)


async def _serve(
    agent: Agent, web: WebConfig | None, load: Load, set_up_logging: Callable[[str, str], None]
) -> int:
    config = agent.config
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()

    def reloaded() -> str:
        try:
            new = load()
            new_web = _web(new)
        except (ConfigError, OSError) as error:
            agent.configured(succeeded=False)
            _log.error("the new configuration is not used: %s", error)
            return str(error)
        said = agent.reload(new)
        old, application.access = application.access, Access(new_web)
        server.headers = application.access.headers
        old.close()
        set_up_logging(new.log.level, new.log.format)
        _log.info("configuration reloaded%s", f"; {said}" if said else "")
        return ""

    async def reload() -> str:
        return await asyncio.to_thread(reloaded)

    application = Application(agent, agent.node, Access(web), reload)
    server = HttpServer(application, host=config.web.host, port=config.web.port)
    server.headers = application.access.headers
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    tasks: set[asyncio.Task[str]] = set()
    loop.add_signal_handler(signal.SIGHUP, lambda: tasks.add(loop.create_task(reload())))
    tls = web.tls.context() if web is not None and web.tls is not None else None
    try:
        await server.start(tls)
    except CannotListen as error:
        print(f"costmeter: {error}", file=sys.stderr)
        return 1
    agent.start()
    host = config.web.host or "0.0.0.0"  # noqa: S104 - only said, not bound
    scheme = "http" if tls is None else "https"
    _log.info("costmeter agent %s listens on %s://%s:%d/", __version__, scheme, host, server.port)
    await stopping.wait()
    _log.info("stopping: what was measured is being kept")
    await server.stop()
    application.access.close()
    await asyncio.to_thread(agent.stop)
    return 0
