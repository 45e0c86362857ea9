"""One colour for one thing, on every panel.

The names are Grafana's own, which it adapts to its dark and its light theme.
"""

from __future__ import annotations

from typing import Any

GOOD, WARN, BAD = "green", "yellow", "red"
MONEY = "semi-dark-blue"
CALM = "text"
#: What belongs to nobody in particular.
REST = "#7d8590"

CATEGORIES = {
    "llm_api": "semi-dark-blue",
    "gpu_compute": "semi-dark-green",
    "cpu_compute": "dark-green",
    "memory": "light-green",
    "storage": "semi-dark-purple",
    "network": "light-purple",
    "managed_services": "dark-purple",
    "data_processing": "semi-dark-yellow",
    "data_annotation": "dark-yellow",
    "personnel": "semi-dark-orange",
    "software_license": "light-orange",
    "support": "light-yellow",
    "security_compliance": "dark-orange",
}

#: Colours of those whose calls are metered most; the others get one of the palette.
PROVIDERS = {
    "openai": "green",
    "azure": "dark-green",
    "anthropic": "orange",
    "google": "blue",
    "aws": "yellow",
    "mistral": "red",
    "deepseek": "purple",
    "cohere": "light-purple",
    "x-ai": "light-blue",
    "onprem": "semi-dark-purple",
    "vllm": "dark-purple",
    "nebius": "light-orange",
}

TOKEN_CLASSES = {
    "input": "semi-dark-blue",
    "cache_read": "light-green",
    "cache_write_5m": "light-yellow",
    "cache_write_1h": "semi-dark-yellow",
    "output": "semi-dark-orange",
    "reasoning": "semi-dark-purple",
}

STATUSES = {"ok": "semi-dark-green", "error": "semi-dark-red", "aborted": "semi-dark-yellow"}


def by_name(colours: dict[str, str]) -> dict[str, Any]:
    """Overrides that give each series its colour."""
    return {name: {"color": {"mode": "fixed", "fixedColor": c}} for name, c in colours.items()}


def by_provider() -> dict[str, Any]:
    """Overrides for series that are named "provider / model": shades of the provider's colour."""
    return {
        f"/^{name}[\\w.-]* \\//": {"color": {"mode": "shades", "fixedColor": colour}}
        for name, colour in PROVIDERS.items()
    }
