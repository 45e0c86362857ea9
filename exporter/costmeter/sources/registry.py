"""Which kinds of sources there are: those of this package, and those that others install."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any

from costmeter.sources.contract import Factory, Settings, Source

#: A package that names `kind = "module:factory"` in this group adds a kind.
GROUP = "costmeter.sources"
#: Imported only when configured.
BUILT_IN: Mapping[str, str] = MappingProxyType(
    {
        "openai": "costmeter.sources.openai:OpenAI",
        "anthropic": "costmeter.sources.anthropic:source",
        "openrouter": "costmeter.sources.openrouter:OpenRouter",
        "litellm": "costmeter.sources.litellm:LiteLLM",
        "azure_openai": "costmeter.sources.azure_openai:AzureOpenAI",
        "azure_cost": "costmeter.sources.azure_cost:AzureCost",
        "aws_cost_explorer": "costmeter.sources.aws_cost_explorer:CostExplorer",
        "bedrock": "costmeter.sources.bedrock:Bedrock",
        "vertex": "costmeter.sources.vertex:Vertex",
        "gcp_gpu": "costmeter.sources.gcp_gpu:GcpGpu",
        "gcp_billing": "costmeter.sources.gcp_billing:GcpBilling",
        "opencost": "costmeter.sources.opencost:OpenCost",
        "promql": "costmeter.sources.promql:PromQL",
        "inference": "costmeter.sources.inference:Inference",
        "gpu_scrape": "costmeter.sources.gpu_scrape:GpuScrape",
        "focus": "costmeter.sources.files.source:focus",
        "cur": "costmeter.sources.files.source:cur",
        "azure_ea": "costmeter.sources.files.source:azure_ea",
        "aws_data_exports": "costmeter.sources.files.source:aws_data_exports",
    }
)


def kinds() -> tuple[str, ...]:
    """Every kind that can be configured, without loading any."""
    return tuple(sorted({*BUILT_IN, *(point.name for point in entry_points(group=GROUP))}))


def make(kind: str, settings: Settings) -> Source:
    """The source of a kind; raises ValueError with what to write instead.

    A package cannot take the name of a built-in kind.
    """
    factory = _factory(kind)
    try:
        return factory(settings)
    except ValueError as error:
        raise ValueError(f"source {settings.name!r}: {error}") from None


def _factory(kind: str) -> Factory:
    if kind in BUILT_IN:
        module, _, name = BUILT_IN[kind].partition(":")
        found: Any = getattr(import_module(module), name)
        return found  # type: ignore[no-any-return]
    for point in entry_points(group=GROUP, name=kind):
        try:
            loaded: Any = point.load()
        except Exception as error:
            raise ValueError(f"the package of kind {kind!r} cannot be loaded: {error}") from error
        return loaded  # type: ignore[no-any-return]
    raise ValueError(f"there is no kind of source {kind!r}; choose from {', '.join(kinds())}")
