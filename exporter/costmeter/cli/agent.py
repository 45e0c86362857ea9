"""`costmeter agent`: the process on a GPU node."""

from __future__ import annotations

import argparse
import os

from costmeter.agent.process import run_agent
from costmeter.cli.logs import set_up_logging
from costmeter.config.agent import AgentConfig, load_agent_config

_FLAGS = {
    "listen_address": "web.listen_address",
    "web_config_file": "web.config_file",
    "log_level": "log.level",
    "log_format": "log.format",
}


def agent(arguments: argparse.Namespace) -> int:
    """Until SIGTERM or SIGINT; 1 when it cannot start."""
    config = _config_of(arguments)
    set_up_logging(config.log.level, config.log.format)
    return run_agent(config, lambda: _config_of(arguments), set_up_logging)


def _config_of(arguments: argparse.Namespace) -> AgentConfig:
    flags = {
        key: str(value)
        for name, key in _FLAGS.items()
        if (value := getattr(arguments, name)) is not None
    }
    return load_agent_config(arguments.config_file, os.environ, flags)
