"""Amazon Bedrock: tokens and calls by hour and model, from CloudWatch.

Shapes: the namespaces AWS/Bedrock and AWS/BedrockMantle, and `ListInferenceProfiles`, as
boto3 1.44 has them. In the first, input excludes what was read from or written to a cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from costmeter.model import MS_PER_HOUR, Usage
from costmeter.sources.aws_client import Aws, region_of
from costmeter.sources.bedrock_metrics import Family, hours_of, listed
from costmeter.sources.bedrock_profiles import Model, Profiles
from costmeter.sources.buckets import closed_until
from costmeter.sources.contract import Desk, Page, Rhythm, Settings, Window
from costmeter.sources.gather import Counts
from costmeter.sources.options import Options
from costmeter.sources.owners import Owners, identity
from costmeter.sources.tags import tag_keys

#: CloudWatch lists what had data within two weeks.
RHYTHM = Rhythm(every_seconds=3_600, restated_days=2, lookback_days=14, step_days=7)
#: As the bill names it, so that one scope holds both.
SERVICE = "Amazon Bedrock"
#: Which metrics are a class. The same figure has two names; the larger counts where both
#: are there.
_CLASSES: Mapping[str, tuple[str, ...]] = {
    "input": ("InputTokenCount", "TotalInputTokens"),
    "output": ("OutputTokenCount", "TotalOutputTokens"),
    "cache_read": ("CacheReadInputTokens", "CacheReadInputTokenCount"),
    "cache_write_5m": ("CacheWriteInputTokens", "CacheWriteInputTokenCount"),
    "unmetered_calls": ("OutputImageCount",),
    "requests": ("Invocations", "Inferences"),
}
_METRICS = frozenset(name for names in _CLASSES.values() for name in names)
#: The runtime's endpoints, and the newer ones, whose calls are counted by project as well.
_FAMILIES = (
    Family("AWS/Bedrock", ("ModelId",), _METRICS),
    Family("AWS/BedrockMantle", ("Model", "Project"), _METRICS),
)


class Bedrock:
    def __init__(self, settings: Settings) -> None:
        """Raises ValueError for settings that do not go together."""
        options = Options(settings.options)
        self.name = settings.name
        self.rhythm = settings.rhythm or RHYTHM
        self._aws = Aws(settings, options)
        said = options.word("regions", "us-east-1").split("+")
        self._regions = tuple(dict.fromkeys(region_of(region) for region in said))
        self._tags = tag_keys(options)
        self._profiles = Profiles(
            self._aws, options.switch("profiles", default=True), tags=bool(self._tags.asked)
        )
        options.finish("bedrock")
        self._owners = Owners(settings, "bedrock")

    def fetch(self, window: Window, desk: Desk) -> Iterator[Page]:
        until_ms = closed_until(window, MS_PER_HOUR)
        if until_ms <= window.since_ms:
            return
        for region in self._regions:
            for family in _FAMILIES:
                yield from self._family(desk, region, family, window.since_ms, until_ms)

    def _family(
        self, desk: Desk, region: str, family: Family, since_ms: int, until_ms: int
    ) -> Iterator[Page]:
        meters = listed(self._aws, desk, region, family)
        if not meters:
            return
        models = self._profiles.resolve(desk, region, {key[0] for key in meters})
        found = hours_of(self._aws, desk, region, family, meters, since_ms, until_ms)
        for key in sorted(meters):
            model = models[key[0]]
            if len(key) > 1:
                model = replace(model, project=key[1])
            # What is not listed any more says nothing: each key has a stream of its own.
            stream = "/".join((region, family.namespace, *key))
            hours = {name: found.get((key, name), {}) for name in meters[key]}
            yield Page(stream, since_ms, until_ms, self._usages(region, stream, model, hours))

    def _usages(
        self, region: str, stream: str, model: Model, hours: Mapping[str, Mapping[int, int]]
    ) -> tuple[Usage, ...]:
        counts = Counts()
        labels = self._tags.labels(
            self._owners.labels(model.name, project=model.project, region=region, service=SERVICE),
            model.tags,
        )
        for at_ms in sorted({at_ms for found in hours.values() for at_ms in found}):
            quantities = {
                kind: max(hours.get(name, {}).get(at_ms, 0) for name in either)
                for kind, either in _CLASSES.items()
            }
            if hours.keys() <= {"Invocations", "Inferences"}:
                # Nothing but calls is counted of it, and a call has no price that is known.
                quantities["unmetered_calls"] = quantities["requests"]
            name = identity("bedrock", at_ms, {"stream": stream})
            counts.add(name, at_ms, labels, quantities)
        return counts.take()
