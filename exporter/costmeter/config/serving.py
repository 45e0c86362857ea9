"""Settings of model serving: pages that tell tokens, and which GPUs are a model's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from costmeter.config.kinds import Choice, Kind, Pattern
from costmeter.config.records import ListOf
from costmeter.config.spec import Setting
from costmeter.config.values import LABEL, OPTIONAL_LABEL

_PAGE: Kind[str] = Pattern(
    r"https?://[^\s@?#/]{1,300}(/[^\s@?#]{0,300})?",
    "the address of a page of metrics",
    "one like http://127.0.0.1:8000/metrics",
)
_GLOB: Kind[str] = Pattern(
    r"[^\x00-\x1f\x7f\s]{1,256}", "a name or a pattern", "one like docker:vllm-*"
)
_UUID: Kind[str] = Pattern(r"GPU-[A-Za-z0-9-]{1,100}", "the uuid of a whole GPU", "GPU-0f1e...")
_ALL = "*"
_CALLS = ("provider", "model", "environment")
_GPUS = ("tenant_id", "environment", "team", "project", "feature", "purpose")


@dataclass(frozen=True, slots=True)
class ServingSource:
    """A model server and the GPUs that it works on."""

    url: Annotated[str, Setting(_PAGE, "Its page of metrics.", required=True)] = ""
    engine: Annotated[
        Literal["auto", "vllm", "sglang", "tgi", "llamacpp", "ollama"],
        Setting(
            Choice("auto", "vllm", "sglang", "tgi", "llamacpp", "ollama"),
            "Whose counters the page has; auto looks.",
        ),
    ] = "auto"
    model: Annotated[
        str,
        Setting(OPTIONAL_LABEL, "The model's name in metrics. Empty: as the server calls it."),
    ] = ""
    namespace: Annotated[
        str, Setting(_GLOB, "Its GPUs are those that this namespace holds, as a pattern.")
    ] = _ALL
    pod: Annotated[str, Setting(_GLOB, "Those that this pod holds, as a pattern.")] = _ALL
    container: Annotated[
        str,
        Setting(
            _GLOB,
            "Those that this container holds, or this workload outside Kubernetes, as a pattern.",
        ),
    ] = _ALL
    uuids: Annotated[
        tuple[str, ...], Setting(ListOf(_UUID, "uuids of GPUs"), "These GPUs alone.")
    ] = ()

    @property
    def takes_all(self) -> bool:
        """Whether every GPU of the machine counts as its own."""
        return (self.namespace, self.pod, self.container) == (_ALL,) * 3 and not self.uuids


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A self-hosted model: whose calls it answers, and which GPU time is its own."""

    model: Annotated[str, Setting(LABEL, "The model, as calls name it.", required=True)] = ""
    provider: Annotated[
        str, Setting(OPTIONAL_LABEL, "The provider that calls name. Empty: any.")
    ] = ""
    tenant_id: Annotated[str, Setting(OPTIONAL_LABEL, "Its GPUs are this tenant's.")] = ""
    environment: Annotated[
        str, Setting(OPTIONAL_LABEL, "Its GPUs, and its calls, are those of this environment.")
    ] = ""
    team: Annotated[str, Setting(OPTIONAL_LABEL, "Its GPUs are this team's.")] = ""
    project: Annotated[str, Setting(OPTIONAL_LABEL, "Its GPUs are this project's.")] = ""
    feature: Annotated[str, Setting(OPTIONAL_LABEL, "Its GPUs are this feature's.")] = ""
    purpose: Annotated[
        str, Setting(OPTIONAL_LABEL, "Its GPUs are those with this purpose, as inference.")
    ] = ""

    @property
    def calls(self) -> tuple[tuple[str, str], ...]:
        """Dimensions of the ledger with their values."""
        return tuple((key, getattr(self, key)) for key in _CALLS if getattr(self, key))

    @property
    def gpus(self) -> tuple[tuple[str, str], ...]:
        """Dimensions of the ledger with their values."""
        return tuple((key, getattr(self, key)) for key in _GPUS if getattr(self, key))


def mistakes_of_models(models: tuple[ServedModel, ...]) -> Iterator[tuple[str, str]]:
    """Models of which calls or GPUs would count twice: (key, what to write instead)."""
    for number, one in enumerate(models):
        key = f"serving[{number}].model"
        if len(models) > 1 and not one.gpus:
            others = ", ".join(name for name in _GPUS[:-1])
            text = "has no GPUs of its own beside another model; say which they are with"
            yield key, f"{text} {others} or {_GPUS[-1]}"
        for other in models[:number]:
            if one.model == other.model and _overlap(one, other):
                text = f"{one.model!r} is there before, and both would count the same calls"
                yield key, f"{text}; write one of them, or another provider or environment in each"
            elif one.gpus and other.gpus and _within(one, other):
                text = f"would have the same GPUs as {other.model!r}, and they would count twice"
                yield key, f"{text}; tell their GPUs apart"


def _overlap(one: ServedModel, other: ServedModel) -> bool:
    """Whether a call can be of both; an empty setting takes any."""
    pairs = ((one.provider, other.provider), (one.environment, other.environment))
    return all(mine == theirs or not mine or not theirs for mine, theirs in pairs)


def _within(one: ServedModel, other: ServedModel) -> bool:
    """Whether the GPUs of one of them are all the other's as well."""
    mine, theirs = set(one.gpus), set(other.gpus)
    return mine <= theirs or theirs <= mine


def mistakes_of(sources: tuple[ServingSource, ...]) -> Iterator[tuple[str, str]]:
    """Servers that would share GPUs without a word: (key, what to write instead)."""
    for number, source in enumerate(sources):
        if len(sources) > 1 and source.takes_all:
            text = "is said to work on every GPU, beside another server; name its own GPUs with"
            yield f"serving[{number}].url", f"{text} container, pod, namespace or uuids"
