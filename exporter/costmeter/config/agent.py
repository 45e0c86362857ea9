"""The configuration of `costmeter agent`: a small file of its own.

Its sections are read by the same rules as the server's. Imports stay few: the agent
answers its first scrape within a quarter of a second of its start.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

from costmeter.config.files import open_to_everybody, unreadable
from costmeter.config.gpu import Gpu
from costmeter.config.kinds import Kind, Pattern, ReadFile, Whole, WorkPath
from costmeter.config.layers import layered
from costmeter.config.problems import Problem, Reading
from costmeter.config.process import Log, Web
from costmeter.config.records import NOTHING, ListOf, Section
from costmeter.config.spec import Setting
from costmeter.config.values import ADDRESS

_URL: Kind[str] = Pattern(
    r"https?://[^\s@?#]{1,500}",
    "a base URL",
    "the server's address, like https://costmeter.example.com:9952",
    empty=True,
)
_LOCAL = ("http://127.", "http://localhost", "http://[::1]")
#: Sections of the server's configuration that have no meaning here.
_SERVERS = (
    "ledger", "series", "ingest", "contracts", "budgets", "scopes", "sources", "fixed_costs",
    "inventory", "currencies", "jobs", "alertmanager", "forecast", "serving", "anomalies",
)  # fmt: skip
INSTEAD: Mapping[str, str] = dict.fromkeys(
    _SERVERS, "is a section of `costmeter serve`; the agent has none of it, remove it here"
)


@dataclass(frozen=True, slots=True)
class AgentWeb(Web):
    listen_address: Annotated[
        str,
        Setting(ADDRESS, "Where the agent shows its metrics.", flag="--web.listen-address"),
    ] = "127.0.0.1:9953"


@dataclass(frozen=True, slots=True)
class AgentPrices:
    files: Annotated[
        tuple[Path, ...],
        Setting(
            ListOf(ReadFile(), "files"),
            "Price files for the estimate that this node shows. The server prices by its own.",
        ),
    ] = ()


@dataclass(frozen=True, slots=True)
class Forward:
    url: Annotated[
        str,
        Setting(
            _URL,
            "The server that GPU time is sent to. Empty: nothing is sent and nothing is kept; "
            "only metrics are shown.",
        ),
    ] = ""
    token_file: Annotated[
        Path | None,
        Setting(
            ReadFile(optional=True),
            "A file with the token to send with. It is read anew when the server refuses it.",
        ),
    ] = None
    ca_file: Annotated[
        Path | None,
        Setting(
            ReadFile(optional=True),
            "Who signs the server's certificate, PEM. Empty: whom this machine trusts.",
        ),
    ] = None
    cert_file: Annotated[
        Path | None,
        Setting(ReadFile(optional=True), "A certificate to show to the server, PEM."),
    ] = None
    key_file: Annotated[
        Path | None, Setting(ReadFile(optional=True), "The key of that certificate, PEM.")
    ] = None
    spool_folder: Annotated[
        Path,
        Setting(
            WorkPath(),
            "The folder in which GPU time waits until the server has booked it. One agent "
            "uses it at a time.",
        ),
    ] = Path("costmeter-agent")
    spool_bytes: Annotated[
        int,
        Setting(
            Whole(1_048_576, 1_099_511_627_776),
            "The most that may wait there. When it is full the oldest is kept and what comes "
            "new is dropped and counted.",
            unit="bytes",
        ),
    ] = 268_435_456
    interval_seconds: Annotated[
        int, Setting(Whole(1, 3600), "How often closed segments are sent.", unit="seconds")
    ] = 10
    timeout_seconds: Annotated[
        int, Setting(Whole(1, 600), "How long the server may take to answer.", unit="seconds")
    ] = 30

    def mistakes(self) -> Iterator[tuple[str, str]]:
        """Settings that do not go together: (key, what to write instead)."""
        if self.key_file is not None and self.cert_file is None:
            yield "key_file", "is of no use without its certificate; write forward.cert_file"
        if self.cert_file is not None and self.key_file is None:
            yield "cert_file", "needs its key; write forward.key_file"
        for key in ("ca_file", "cert_file"):
            if getattr(self, key) is not None and not self.url.startswith("https://"):
                yield key, "is of no use without TLS; write forward.url with https://"
        if self.token_file is not None and not self.url:
            yield "token_file", "is of no use without an address; write forward.url"

    def warnings(self) -> Iterator[tuple[str, str]]:
        """What works and should not be left so: (key, why)."""
        clear = self.url.startswith("http://") and not self.url.startswith(_LOCAL)
        if clear and self.token_file is not None:
            yield "url", "the token goes over the network in the clear; write https://"


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """All settings of the agent. `warnings` are worth a line in the log; they stop nothing."""

    gpu: Annotated[Gpu, Setting(Section(Gpu), "The GPUs of this node.")] = field(
        default_factory=Gpu
    )
    prices: Annotated[
        AgentPrices, Setting(Section(AgentPrices), "Prices for the estimate on the node.")
    ] = field(default_factory=AgentPrices)
    forward: Annotated[
        Forward, Setting(Section(Forward), "Where GPU time is sent, to be booked.")
    ] = field(default_factory=Forward)
    web: Annotated[
        AgentWeb, Setting(Section(AgentWeb), "Where the agent listens, and who may read.")
    ] = field(default_factory=AgentWeb)
    log: Annotated[Log, Setting(Section(Log), "The log.")] = field(default_factory=Log)
    warnings: tuple[Problem, ...] = field(default=(), compare=False)


def load_agent_config(
    path: Path | None, environ: Mapping[str, str], overrides: Mapping[str, str] = NOTHING
) -> AgentConfig:
    """The configuration to run the agent with; `path` None means the built-in defaults.

    Precedence, `overrides` and mistakes are those of `load_config`.
    """
    reading = Reading()
    config = layered(AgentConfig, path, environ, overrides, reading, instead=INSTEAD)
    for key, text in config.gpu.mistakes():
        reading.wrong_setting(f"gpu.{key}", text)
    for key, text in config.forward.mistakes():
        reading.wrong_setting(f"forward.{key}", text)
    for key, text in config.forward.warnings():
        reading.warn(f"forward.{key}", text)
    _look_at_files(config, reading)
    reading.raise_problems()
    return replace(config, warnings=tuple(reading.warnings))


def _look_at_files(config: AgentConfig, reading: Reading) -> None:
    for key, path in _named_files(config):
        trouble = unreadable(path)
        if trouble:
            reading.wrong_setting(key, f"{trouble}; write the path of a file that can be read")
    for key, secret in (
        ("forward.token_file", config.forward.token_file),
        ("forward.key_file", config.forward.key_file),
    ):
        if secret is not None and open_to_everybody(secret):
            reading.warn(key, f"{secret} can be read by everybody: chmod o-r it")


def _named_files(config: AgentConfig) -> Iterator[tuple[str, Path]]:
    for number, price_file in enumerate(config.prices.files):
        yield f"prices.files[{number}]", price_file
    for key in ("token_file", "ca_file", "cert_file", "key_file"):
        path = getattr(config.forward, key)
        if path is not None:
            yield f"forward.{key}", path
    if config.web.config_file is not None:
        yield "web.config_file", config.web.config_file
