"""`costmeter serve`: the exporter, from its configuration to a clean end."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import signal
import sys
from collections.abc import Coroutine
from importlib import import_module

from costmeter import __version__
from costmeter.cli.logs import set_up_logging
from costmeter.cli.pseudonyms import pseudonyms_of
from costmeter.cli.settings import config_of
from costmeter.clock import SystemClock
from costmeter.config import Config, ConfigError, WebConfig, load_tokens, load_web_config
from costmeter.engine.replica import Replica
from costmeter.engine.service import Service
from costmeter.engine.terms import scopes_of
from costmeter.ingest.otlp.reading import Rules
from costmeter.ingest.pseudonym import PseudonymousDoor
from costmeter.ingest.window import Window
from costmeter.ledger.door import Door, Unavailable
from costmeter.ledger.store import LedgerError
from costmeter.pricing import PriceFileError
from costmeter.web import Access, Application, CannotListen, Settings, WebServer
from costmeter.web.intake import Intake

_log = logging.getLogger("costmeter")

#: So long the first answers have the interpreter to themselves.
_BEHIND_SECONDS = 0.5


def serve(arguments: argparse.Namespace) -> int:
    """Until SIGTERM or SIGINT; 1 when it cannot start."""
    # A body of ten thousand events is no reason to collect a hundred times.
    gc.set_threshold(50_000, 20, 100)
    config = config_of(arguments)
    set_up_logging(config.log.level, config.log.format)
    for warning in config.warnings:
        _log.warning("%s", warning)
    web = load_web_config(config.web.config_file) if config.web.config_file else None
    access = _access(config, web)
    service = (Replica if arguments.read_only else Service)(config, SystemClock())
    try:
        service.start()
        return _run(_serve(arguments, config, service, access, web))
    finally:
        service.stop()


def _run(main: Coroutine[None, None, int]) -> int:
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    code: int = uvloop.run(main)
    return code


async def _serve(
    arguments: argparse.Namespace,
    config: Config,
    service: Service | Replica,
    access: Access,
    web: WebConfig | None,
) -> int:
    stopping = asyncio.Event()

    async def reload() -> str:
        return await asyncio.to_thread(_reload, arguments, service, application)

    application = Application(
        access=access,
        door=_door(config, service),
        render=service.exposition.respond,
        health=service.health,
        reload=reload,
        tally=service.tally,
        clock=SystemClock(),
        settings=Settings(
            window=Window(
                config.ledger.open_window_days, config.ledger.future_tolerance_seconds * 1_000
            ),
            intake=Intake(
                max_body_bytes=config.ingest.max_body_bytes,
                retry_after_seconds=config.ingest.retry_after_seconds,
            ),
            max_events=config.ingest.max_events,
            otlp=Rules(
                owners=config.ingest.otlp_attributes.by_field(),
                excludes_caches=frozenset(config.ingest.otlp_exclusive_input),
                scopes=scopes_of(config),
            ),
            birth_hold_seconds=config.ledger.birth_hold_seconds,
        ),
    )
    server = WebServer(
        application,
        host=config.web.host,
        port=config.web.port,
        tls=web.tls.context() if web is not None and web.tls is not None else None,
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    tasks: set[asyncio.Task[str]] = set()
    loop.add_signal_handler(signal.SIGHUP, lambda: tasks.add(loop.create_task(reload())))
    try:
        await server.start()
    except CannotListen as error:
        print(f"costmeter: {error}", file=sys.stderr)
        return 1
    scheme = "https" if web is not None and web.tls is not None else "http"
    host = config.web.host or "0.0.0.0"  # noqa: S104 - only said, not bound
    _log.info(
        "costmeter %s listens on %s://%s:%d/, ledger %s%s",
        __version__, scheme, host, server.port, config.ledger.path,
        " (read-only)" if arguments.read_only else "",
    )  # fmt: skip
    # What is alive now stays alive: the collector need not walk through it again.
    gc.freeze()
    # Behind the first scrape: what only the first call with a usage object needs.
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stopping.wait(), _BEHIND_SECONDS)
    await asyncio.to_thread(import_module, "costmeter.normalise.responses")
    await stopping.wait()
    _log.info("stopping: what was accepted is being finished")
    await server.stop()
    application.close()
    return 0


def _door(config: Config, service: Service | Replica) -> Door | None:
    """Where usage goes in; None on a replica."""
    if isinstance(service, Replica):
        return None
    pseudonyms = pseudonyms_of(config)
    return service.writer if pseudonyms is None else PseudonymousDoor(service.writer, pseudonyms)


def _reload(
    arguments: argparse.Namespace, service: Service | Replica, application: Application
) -> str:
    """Put the configuration's newest state in force, or keep the old one and say why."""
    try:
        config = config_of(arguments)
        web = load_web_config(config.web.config_file) if config.web.config_file else None
        access = _access(config, web)
        said = service.reload(config)
    except (ConfigError, LedgerError, PriceFileError, Unavailable) as error:
        service.configured(succeeded=False)
        _log.error("the new configuration is not used: %s", error)
        return str(error)
    old, application.access = application.access, access
    old.close()
    set_up_logging(config.log.level, config.log.format)
    _log.info("configuration reloaded%s", f"; {said}" if said else "")
    return ""


def _access(config: Config, web: WebConfig | None) -> Access:
    tokens = load_tokens(config.ingest.tokens_file) if config.ingest.tokens_file else None
    for warning in tokens.warnings if tokens is not None else ():
        _log.warning("%s", warning)
    return Access(listen_host=config.web.host, tokens=tokens, web=web)
