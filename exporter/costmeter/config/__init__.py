"""Configuration: typed, complete, and refused with every mistake named at once."""

from costmeter.config.accounting import Admit, Ledger, PerLabel, Series
from costmeter.config.budgets import Budget, Budgets
from costmeter.config.loader import load_config
from costmeter.config.problems import ConfigError, Problem
from costmeter.config.schema import Config
from costmeter.config.scopes import Match, Scope
from costmeter.config.service import Gpu, Ingest, Jobs, Log, Prices, Web
from costmeter.config.tokens import Token, Tokens, load_tokens, new_token
from costmeter.config.web_config import WebConfig, load_web_config

__all__ = [
    "Admit",
    "Budget",
    "Budgets",
    "Config",
    "ConfigError",
    "Gpu",
    "Ingest",
    "Jobs",
    "Ledger",
    "Log",
    "Match",
    "PerLabel",
    "Prices",
    "Problem",
    "Scope",
    "Series",
    "Token",
    "Tokens",
    "Web",
    "WebConfig",
    "load_config",
    "load_tokens",
    "load_web_config",
    "new_token",
]
