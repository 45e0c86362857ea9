"""Tokens and requests on the pages of model servers, by model.

The names are those of vLLM, SGLang, text-generation-inference and llama.cpp's server. Releases
of Ollama show no metrics; what is read are the proxies that count for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

_SAMPLE = re.compile(
    r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[^\"}]|\"(?:[^\"\\]|\\.)*\")*)\})?[ \t]+([^ \t]+)"
)
_LABEL = re.compile(r"([a-zA-Z_][a-zA-Z0-9_]*)=\"((?:[^\"\\]|\\.)*)\"")
_ESCAPED = re.compile(r"\\(.)")
#: More counters than a double holds exactly are none.
_MOST = 1 << 53
#: Ranks of a model that is spread over GPUs count the same tokens; data-parallel ranks do not.
_RANKS = ("tp_rank", "pp_rank", "moe_ep_rank")
_MODEL_LABELS = ("model_name", "model")


class Engine(NamedTuple):
    """The first name of a row that a page has is counted."""

    name: str
    input: tuple[str, ...]
    output: tuple[str, ...]
    requests: tuple[str, ...]


ENGINES = (
    Engine(
        "vllm",
        ("vllm:prompt_tokens_total",),
        ("vllm:generation_tokens_total",),
        ("vllm:request_success_total",),
    ),
    Engine(
        "sglang",
        ("sglang:prompt_tokens_total",),
        ("sglang:generation_tokens_total",),
        ("sglang:num_requests_total",),
    ),
    Engine(
        "tgi",
        ("tgi_request_input_length_sum",),
        ("tgi_request_generated_tokens_sum",),
        ("tgi_request_success", "tgi_request_success_total"),
    ),
    Engine(
        "llamacpp",
        ("llamacpp:prompt_tokens_total",),
        ("llamacpp:tokens_predicted_total",),
        (),
    ),
    Engine(
        "ollama",
        ("ollama_prompt_tokens_total", "ollama_tokens_processed_total"),
        (
            "ollama_generated_tokens_total",
            "ollama_completion_tokens_total",
            "ollama_generation_tokens_total",
            "ollama_tokens_generated_total",
        ),
        ("ollama_requests_total", "ollama_request_duration_seconds_count"),
    ),
)
NAMES = tuple(engine.name for engine in ENGINES)
#: Lines of a page that begin with none of these tell nothing here.
COUNTERS = tuple(name for engine in ENGINES for row in engine[1:] for name in row)


class Counts(NamedTuple):
    """Of one model since its server started; None is not told."""

    input: int
    output: int
    requests: int | None = None


class Page(NamedTuple):
    engine: str
    models: Mapping[str, Counts]


class UnknownPage(Exception):
    """The page has no token counter that is known; the text says what was looked for."""


def read_page(text: str, engine: str = "auto") -> Page:
    """`engine` is one of NAMES, or auto for the first that is recognised.

    A model's name is empty where the server does not tell it. Raises UnknownPage.
    """
    wanted = [one for one in ENGINES if engine in ("auto", one.name)]
    names = frozenset(name for one in wanted for row in one[1:] for name in row)
    found: dict[str, dict[str, float]] = {}
    for name, labels, value in _samples(text, names):
        if any(labels.get(rank, "0") != "0" for rank in _RANKS):
            continue
        model = next((labels[key] for key in _MODEL_LABELS if labels.get(key)), "")
        of_name = found.setdefault(name, {})
        of_name[model] = of_name.get(model, 0) + value
    for one in wanted:
        inputs, outputs = _first(one.input, found), _first(one.output, found)
        if inputs is None and outputs is None:
            continue
        inputs, outputs = inputs or {}, outputs or {}
        requests = _first(one.requests, found)
        models = {
            model: Counts(
                round(inputs.get(model, 0)),
                round(outputs.get(model, 0)),
                None if requests is None else round(requests.get(model, 0)),
            )
            for model in {*inputs, *outputs}
        }
        return Page(one.name, models)
    whose = "vLLM, SGLang, TGI, llama.cpp or a proxy for Ollama" if engine == "auto" else engine
    raise UnknownPage(f"it shows no token counters of {whose}")


def _first(
    names: tuple[str, ...], found: Mapping[str, dict[str, float]]
) -> dict[str, float] | None:
    return next((found[name] for name in names if name in found), None)


def _samples(text: str, names: frozenset[str]) -> Iterator[tuple[str, dict[str, str], float]]:
    """Samples of these names that are counts; other lines, and what is none, are passed over."""
    for line in text.splitlines():
        match = _SAMPLE.match(line)
        if match is None or match[1] not in names:
            continue
        try:
            value = float(match[3])
        except ValueError:
            continue
        if 0 <= value <= _MOST:
            yield match[1], _labels(match[2] or ""), value


def _labels(text: str) -> dict[str, str]:
    return {
        name: _ESCAPED.sub(lambda found: "\n" if found[1] == "n" else found[1], value)
        for name, value in _LABEL.findall(text)
    }
