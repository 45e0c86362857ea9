"""Configuration: typed, complete, and refused with every mistake named at once.

Each name is imported when somebody asks for it: the agent needs a tenth of the sections.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from costmeter.config.accounting import Admit, Ledger, PerLabel, Series
    from costmeter.config.agent import AgentConfig, load_agent_config
    from costmeter.config.budgets import Budget, Budgets
    from costmeter.config.contracts import Commitment, Contract
    from costmeter.config.currencies import Currencies
    from costmeter.config.fixed_costs import FixedCosts
    from costmeter.config.gpu import Gpu
    from costmeter.config.inventory import Inventory
    from costmeter.config.loader import load_config
    from costmeter.config.problems import ConfigError, Problem
    from costmeter.config.process import Log, Web
    from costmeter.config.schema import Config
    from costmeter.config.scopes import Match, Scope
    from costmeter.config.service import Ingest, Jobs, Prices
    from costmeter.config.sources import Owner, Source
    from costmeter.config.tokens import Token, Tokens, load_tokens, new_token
    from costmeter.config.web_config import WebConfig, load_web_config

__all__ = [
    "Admit",
    "AgentConfig",
    "Budget",
    "Budgets",
    "Commitment",
    "Config",
    "ConfigError",
    "Contract",
    "Currencies",
    "FixedCosts",
    "Gpu",
    "Ingest",
    "Inventory",
    "Jobs",
    "Ledger",
    "Log",
    "Match",
    "Owner",
    "PerLabel",
    "Prices",
    "Problem",
    "Scope",
    "Series",
    "Source",
    "Token",
    "Tokens",
    "Web",
    "WebConfig",
    "load_agent_config",
    "load_config",
    "load_tokens",
    "load_web_config",
    "new_token",
]

#: Which module a name is in; a test holds it against the imports above.
_HOMES = {
    "accounting": ("Admit", "Ledger", "PerLabel", "Series"),
    "agent": ("AgentConfig", "load_agent_config"),
    "budgets": ("Budget", "Budgets"),
    "contracts": ("Commitment", "Contract"),
    "currencies": ("Currencies",),
    "fixed_costs": ("FixedCosts",),
    "gpu": ("Gpu",),
    "inventory": ("Inventory",),
    "loader": ("load_config",),
    "problems": ("ConfigError", "Problem"),
    "schema": ("Config",),
    "scopes": ("Match", "Scope"),
    "process": ("Log", "Web"),
    "service": ("Ingest", "Jobs", "Prices"),
    "sources": ("Owner", "Source"),
    "tokens": ("Token", "Tokens", "load_tokens", "new_token"),
    "web_config": ("WebConfig", "load_web_config"),
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = found
    return found
