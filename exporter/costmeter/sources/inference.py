"""Inference servers of one's own: tokens of vLLM, SGLang and TGI from their /metrics.

Counters only grow while a server runs. What they grew by between two scrapes is booked in
the hour of the later one; the last values and the hour's sums so far are kept with it.
What a server counted before it was first seen is not booked, nor after its address changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from costmeter.model import MS_PER_HOUR
from costmeter.sources.contract import Desk, Page, Rhythm, Settings, SourceError, Window
from costmeter.sources.exposition import Sample, samples, whole
from costmeter.sources.gather import Counts
from costmeter.sources.http import Api
from costmeter.sources.options import Options
from costmeter.sources.owners import Owners, identity
from costmeter.sources.reading import malformed

RHYTHM = Rhythm(every_seconds=60, restated_days=1, lookback_days=1, step_days=400)
SERVERS = ("vllm", "sglang", "tgi")
_PREFIX: Mapping[str, str] = {"vllm": "vllm:", "sglang": "sglang:", "tgi": "tgi_"}
_METERS: Mapping[str, tuple[str, str]] = {
    "vllm:prompt_tokens_total": ("vllm", "prompt"),
    "vllm:prompt_tokens_cached_total": ("vllm", "cached"),
    "vllm:prefix_cache_hits_total": ("vllm", "hits"),
    "vllm:generation_tokens_total": ("vllm", "generation"),
    "vllm:request_success_total": ("vllm", "requests"),
    "sglang:prompt_tokens_total": ("sglang", "prompt"),
    "sglang:cached_tokens_total": ("sglang", "cached"),
    "sglang:generation_tokens_total": ("sglang", "generation"),
    "sglang:num_requests_total": ("sglang", "requests"),
    "tgi_request_input_length_sum": ("tgi", "prompt"),
    "tgi_request_generated_tokens_sum": ("tgi", "generation"),
    "tgi_request_success": ("tgi", "requests"),
}
_STARTED = "process_start_time_seconds"
#: An instant in seconds, written as a float, is not always read to the same ms.
_SAME_START_MS = 1_000
_MOST_SECONDS = 10**11
_MOST_SERIES = 10_000
Sums = dict[str, dict[str, int]]


class Series(NamedTuple):
    meter: str
    model: str
    value: int


class Kept(NamedTuple):
    """`last` is None before the first scrape; `sums` are the hour's by model and meter.

    `started_ms` is when the server's process began, 0 where it does not say.
    """

    hour_ms: int = 0
    last: dict[str, int] | None = None
    sums: Sums = {}  # noqa: RUF012 - never changed in place
    started_ms: int = 0


class Inference:
    def __init__(self, settings: Settings) -> None:
        """Raises ValueError for settings that do not go together."""
        if not settings.base_url:
            raise ValueError("a source of kind inference needs base_url, the server's address")
        options = Options(settings.options)
        self.name = settings.name
        self.rhythm = settings.rhythm or RHYTHM
        self._server = options.word("server", "auto", ("auto", *SERVERS))
        self._path = options.word("path", "/metrics")
        self._model = options.word("model", "")
        self._provider = options.word("provider", "")
        options.finish("inference")
        self._address = f"inference {settings.base_url}{self._path}"
        self._api = Api(
            settings.base_url, settings.secret, timeout_seconds=settings.timeout_seconds
        )
        self._owners = Owners(settings, "vllm")

    def fetch(self, window: Window, desk: Desk) -> Iterator[Page]:
        if not window.since_ms <= window.now_ms < window.until_ms:
            return
        found = tuple(samples(self._api.text(desk, self._path)))
        server = self._server if self._server != "auto" else _recognised(found)
        kept = self._kept(desk.kept)
        hour_ms = window.now_ms - window.now_ms % MS_PER_HOUR
        if hour_ms < kept.hour_ms:
            raise SourceError("other", "the clock was set back to before the last scrape")
        now = grown(kept, hour_ms, self._series(found, server), _started_ms(found))
        counts = Counts()
        for model, sums in sorted(now.sums.items()):
            self._count(counts, hour_ms, server, model, sums)
        keep = json.dumps([self._address, *now])
        yield Page("inference", hour_ms, hour_ms + MS_PER_HOUR, counts.take(), keep=keep)

    def _kept(self, text: str) -> Kept:
        """What was kept; another server's values are no place to go on from, its sums stand.

        A source of another kind may have had this name before.
        """
        if not text.startswith('["inference '):
            return Kept()
        address, *said = json.loads(text)
        kept = Kept(*said)
        return kept if address == self._address else kept._replace(last=None, started_ms=0)

    def _series(self, found: Iterable[Sample], server: str) -> dict[str, Series]:
        """Counters by what the server itself calls them: no option may make one look new."""
        out: dict[str, Series] = {}
        for sample in found:
            of, meter = _METERS.get(sample.name, ("", ""))
            # Ranks of one model count the same calls.
            ranks = (sample.labels.get("tp_rank", "0"), sample.labels.get("pp_rank", "0"))
            if of != server or set(ranks) - {"", "0"}:
                continue
            model = self._model or sample.labels.get("model_name", "") or server
            key = json.dumps([sample.name, sorted(sample.labels.items())])
            if key in out:
                raise malformed(sample.name, "a series that is there twice")
            out[key] = Series(meter, model, whole(sample))
        if len(out) > _MOST_SERIES:
            raise malformed("the exposition", f"more than {_MOST_SERIES} series of tokens")
        return out

    def _count(
        self, counts: Counts, hour_ms: int, server: str, model: str, sums: Mapping[str, int]
    ) -> None:
        prompt = sums.get("prompt", 0)
        # Older vLLM has no counter of cached tokens, but the hits of its prefix cache.
        cached = min(sums["cached"] if "cached" in sums else sums.get("hits", 0), prompt)
        counts.add(
            identity("inference", hour_ms, {"server": server, "model": model}),
            hour_ms,
            self._owners.labels(model, provider=self._provider or server),
            {
                "input": prompt - cached,
                "cache_read": cached,
                "output": sums.get("generation", 0),
                "requests": sums.get("requests", 0),
            },
        )


def grown(kept: Kept, hour_ms: int, series: Mapping[str, Series], started_ms: int) -> Kept:
    """What is to be kept after a scrape; the first scrape of all only says where to begin.

    After a restart each series began at 0 again, and so did one that is new. A restart is
    told by the start of the process, or else by a series that fell. One that is missing
    keeps its value, unless the process is a new one: a server that starts shows it later.
    """
    sums: Sums = {}
    if kept.hour_ms == hour_ms:
        sums = {model: dict(meters) for model, meters in kept.sums.items()}
    before = kept.last or {}
    if kept.started_ms and started_ms > kept.started_ms + _SAME_START_MS:
        before = {}
    if kept.last is not None:
        for key, (meter, model, value) in series.items():
            old = before.get(key, 0)
            meters = sums.setdefault(model, {})
            meters[meter] = meters.get(meter, 0) + (value - old if value >= old else value)
    last = before | {key: one.value for key, one in series.items()}
    return Kept(hour_ms, last, sums, started_ms or kept.started_ms)


def _started_ms(found: Iterable[Sample]) -> int:
    """0 where the server does not say it, or where several processes do."""
    said = [sample.value for sample in found if sample.name == _STARTED]
    if len(said) != 1 or not 0 < said[0] < _MOST_SECONDS:
        return 0
    return int(said[0] * 1000)


def _recognised(found: Iterable[Sample]) -> str:
    for sample in found:
        for server, prefix in _PREFIX.items():
            if sample.name.startswith(prefix):
                return server
    raise malformed("the exposition", "no metrics of vLLM, SGLang or TGI; set option server")
