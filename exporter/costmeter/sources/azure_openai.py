"""Azure OpenAI: tokens and requests by hour and deployment, from Azure Monitor.

Shapes: `Microsoft.CognitiveServices/accounts` and their `deployments`, version 2023-05-01,
and the metrics of that resource type as its reference lists them. There are two families of
metrics for the same traffic; one of them is read, or each token would be there twice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import NamedTuple

from costmeter.model import MS_PER_DAY, MS_PER_HOUR
from costmeter.sources.azure_auth import Manager, subscriptions_of
from costmeter.sources.azure_metrics import Point, Sums, hourly
from costmeter.sources.buckets import closed_until
from costmeter.sources.contract import Desk, Page, Rhythm, Settings, Window
from costmeter.sources.gather import Counts
from costmeter.sources.options import Options
from costmeter.sources.owners import Owners, identity
from costmeter.sources.reading import Row, group, malformed, rows, text

RHYTHM = Rhythm(every_seconds=3_600, restated_days=2, lookback_days=30, step_days=7)
SERVICE = "Azure OpenAI"
#: Platform metrics are kept for 93 days.
_DAYS_BACK = 92
_TYPE = "Microsoft.CognitiveServices/accounts"
_VERSION = "2023-05-01"
_KINDS = ("openai", "aiservices")
_DEPLOYMENT, _MODEL, _REGION, _TIER = (
    "ModelDeploymentName", "ModelName", "Region", "ServiceTierResponse",
)  # fmt: skip
_OPENAI: Mapping[str, str] = {"ProcessedPromptTokens": "input", "GeneratedTokens": "output"}
_MODELS: Mapping[str, str] = {
    "InputTokens": "input",
    "OutputTokens": "output",
    "cacheReadInputTokens": "cache_read",
    "ephemeral5mInputTokens": "cache_write_5m",
    "ephemeral1hInputTokens": "cache_write_1h",
}
_CLASSES: Mapping[str, str] = {
    **_OPENAI, **_MODELS, "AzureOpenAIRequests": "requests", "ModelRequests": "requests",
}  # fmt: skip
FAMILIES: Mapping[str, tuple[Sums, ...]] = {
    "openai": (
        Sums(_TYPE, tuple(_OPENAI), (_DEPLOYMENT, _REGION)),
        # These alone say which model was behind a deployment.
        Sums(
            _TYPE, ("AzureOpenAIRequests",), (_DEPLOYMENT, _MODEL, _REGION), "StatusCode eq '200'"
        ),
    ),
    "models": (
        Sums(_TYPE, tuple(_MODELS), (_DEPLOYMENT, _MODEL, _REGION)),
        Sums(_TYPE, ("ModelRequests",), (_DEPLOYMENT, _MODEL, _REGION)),
    ),
}
_PROCESSING: Mapping[str, str] = {"flex": "flex", "priority": "priority"}


class _Account(NamedTuple):
    path: str
    name: str
    location: str
    subscription: str


class _Deployment(NamedTuple):
    model: str
    sku: str


class _Key(NamedTuple):
    at_ms: int
    deployment: str
    region: str
    tier: str
    model: str
    """Empty where tokens are not split by it."""


@dataclass(slots=True)
class _Group:
    quantities: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    requests_of: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Requests by model."""

    def model(self) -> str:
        named = [(-n, model) for model, n in self.requests_of.items() if model]
        return min(named)[1] if named else ""


class AzureOpenAI:
    def __init__(self, settings: Settings) -> None:
        """Raises ValueError for settings that do not go together."""
        options = Options(settings.options)
        self.name = settings.name
        self.rhythm = settings.rhythm or RHYTHM
        self._manager = Manager(settings, options)
        self._owners = Owners(settings, "azure")
        self._account = settings.account
        self._subscriptions = subscriptions_of(options)
        if not self._subscriptions:
            raise ValueError("names no subscription; write the option subscriptions=<id>+<id>")
        self._accounts = options.word("accounts", "*").split("+")
        self._family = options.word("metrics", "openai", FAMILIES)
        self._tiers = options.switch("tiers", default=False)
        self._service = options.word("service", SERVICE)
        if self._tiers and self._family != "openai":
            raise ValueError("tiers=true needs metrics=openai: the others do not say the tier")
        options.finish("azure_openai")

    def fetch(self, window: Window, desk: Desk) -> Iterator[Page]:
        since_ms = max(window.since_ms, _day(window.now_ms) - _DAYS_BACK * MS_PER_DAY)
        until_ms = closed_until(window, MS_PER_HOUR)
        if until_ms <= since_ms:
            return
        for subscription in self._subscriptions:
            for account in self._list(subscription, desk):
                yield self._page(account, since_ms, until_ms, desk)

    def _list(self, subscription: str, desk: Desk) -> Iterator[_Account]:
        path = f"/subscriptions/{subscription}/providers/{_TYPE}"
        for row in self._rows(desk, path):
            name, location = text(row, "name"), text(row, "location")
            resource = row.get("id")
            if not isinstance(resource, str) or not resource.startswith("/subscriptions/"):
                raise malformed("id", "expected the id of a resource")
            wanted = any(fnmatchcase(name.lower(), glob.lower()) for glob in self._accounts)
            if text(row, "kind").lower() in _KINDS and wanted:
                yield _Account(resource, name, location, subscription)

    def _rows(self, desk: Desk, path: str) -> Iterator[Row]:
        pages = self._manager.follow(
            lambda path, query: self._manager.get(desk, path, query),
            path,
            [("api-version", _VERSION)],
            link=lambda page: page.get("nextLink"),
            data=lambda page: page.get("value"),
        )
        for page in pages:
            yield from rows(page, "value")

    def _page(self, account: _Account, since_ms: int, until_ms: int, desk: Desk) -> Page:
        deployments = {
            text(row, "name").lower(): _Deployment(
                text(group(group(row, "properties"), "model"), "name"),
                text(group(row, "sku"), "name").lower(),
            )
            for row in self._rows(desk, f"{account.path}/deployments")
        }
        groups: dict[_Key, _Group] = defaultdict(_Group)
        for sums in FAMILIES[self._family]:
            asked = sums._replace(splits=(*sums.splits, _TIER)) if self._tiers else sums
            for point in hourly(self._manager, desk, account.path, asked, since_ms, until_ms):
                self._add(groups, point)
        counts = Counts()
        for key, found in groups.items():
            self._count(counts, account, deployments, key, found)
        # Each account is a stream: what one that was deleted consumed stays.
        stream = f"usage {account.path.lower().removeprefix('/subscriptions/')}"
        return Page(stream, since_ms, until_ms, counts.take())

    def _add(self, groups: dict[_Key, _Group], point: Point) -> None:
        said = point.dimensions
        model = said.get(_MODEL, "")
        known = model if self._family == "models" else ""
        key = _Key(point.at_ms, said[_DEPLOYMENT], said[_REGION], said.get(_TIER, ""), known)
        what = _CLASSES[point.metric]
        groups[key].quantities[what] += point.total
        if what == "requests":
            groups[key].requests_of[model] += point.total

    def _count(
        self,
        counts: Counts,
        account: _Account,
        deployments: Mapping[str, _Deployment],
        key: _Key,
        found: _Group,
    ) -> None:
        deployed = deployments.get(key.deployment.lower(), _Deployment("", ""))
        model = key.model or found.model() or deployed.model or key.deployment or "unknown"
        # What was reserved is paid for by the hour, whatever runs on it.
        suffix = " provisioned" if "provisioned" in deployed.sku else ""
        labels = self._owners.labels(
            model,
            project=account.name,
            api_key=key.deployment,
            region=(key.region or account.location).lower().replace(" ", ""),
            service=self._service + suffix,
            operation="embedding" if "embedding" in model else "generation",
        )
        said = {"resource": account.path.lower(), **key._asdict(), "at_ms": ""}
        counts.add(
            identity("usage", key.at_ms, said),
            key.at_ms,
            labels._replace(account=self._account or account.subscription),
            found.quantities,
            processing="batch"
            if "batch" in deployed.sku
            else _PROCESSING.get(key.tier.lower(), "standard"),
        )


def _day(at_ms: int) -> int:
    return at_ms - at_ms % MS_PER_DAY
