"""GPU time from the scrapes of dcgm-exporter and nvidia_gpu_exporter.

A card that two good scrapes saw was there in between, unless they lie too far apart: what
nobody saw is not guessed. The instant of the last scrape and its hour's sums are kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from costmeter.model import MS_PER_HOUR, UNATTRIBUTED, Usage
from costmeter.pricing.gpu import GPU_CATEGORY, ON_DEMAND, canonical_gpu, is_known_gpu
from costmeter.sources.contract import Desk, Page, Rhythm, Settings, SourceError, Window
from costmeter.sources.exposition import samples
from costmeter.sources.gather import Counts
from costmeter.sources.http import Api
from costmeter.sources.options import Options
from costmeter.sources.owners import Owners, identity
from costmeter.sources.reading import malformed

RHYTHM = Rhythm(every_seconds=60, restated_days=1, lookback_days=1, step_days=400)
_MOST_INTERVALS = 3
_KIND = "gpu_scrape"


class Card(NamedTuple):
    uuid: str
    model: str
    namespace: str
    pod: str


class Kept(NamedTuple):
    """The last scrape: when, which cards, and the sums of its hour as (card, ms)."""

    at_ms: int = 0
    cards: list[list[str]] = []  # noqa: RUF012 - never changed in place
    sums: list[tuple[list[str], int]] = []  # noqa: RUF012


Hours = dict[int, dict[Card, int]]


class GpuScrape:
    def __init__(self, settings: Settings) -> None:
        """Raises ValueError for settings that do not go together."""
        if not settings.base_url:
            raise ValueError("a source of kind gpu_scrape needs base_url, the exporter's address")
        options = Options(settings.options)
        self.name = settings.name
        self.rhythm = settings.rhythm or RHYTHM
        self._path = options.word("path", "/metrics")
        self._region = options.word("region", "")
        self._machine = options.word("machine_type", "")
        self._purchase = options.word("purchase", ON_DEMAND, (ON_DEMAND, "spot", "reserved"))
        provider = options.word("provider", "onprem")
        options.finish("gpu_scrape")
        self._api = Api(
            settings.base_url, settings.secret, timeout_seconds=settings.timeout_seconds
        )
        self._owners = Owners(settings, provider, nobody=UNATTRIBUTED)

    def fetch(self, window: Window, desk: Desk) -> Iterator[Page]:
        if not window.since_ms <= window.now_ms < window.until_ms:
            return
        cards = cards_of(self._api.text(desk, self._path))
        kept = _read(desk.kept)
        now_ms = window.now_ms
        if now_ms < kept.at_ms:
            raise SourceError("other", "the clock was set back to before the last scrape")
        longest_ms = _MOST_INTERVALS * self.rhythm.every_seconds * 1_000
        hours = observed(kept, cards, now_ms, longest_ms)
        hour_ms = _hour(now_ms)
        counts = Counts()
        for at_ms, sums in sorted(hours.items()):
            for card, ms in sorted(sums.items()):
                self._count(counts, at_ms, card, ms)
        keep = Kept(
            now_ms,
            [list(card) for card in cards.values()],
            [(list(card), ms) for card, ms in hours.get(hour_ms, {}).items()],
        )
        since_ms = max(min(hours, default=hour_ms), window.since_ms)
        until_ms = hour_ms + MS_PER_HOUR
        usages = tuple(_of_card(usage) for usage in counts.take())
        yield Page("gpu", since_ms, until_ms, usages, keep=json.dumps([_KIND, *keep]))

    def _count(self, counts: Counts, at_ms: int, card: Card, ms: int) -> None:
        labels = self._owners.labels(
            card.model,
            project=card.namespace,
            api_key=card.pod,
            region=self._region,
            service=self._machine,
            operation=self._purchase,
        )._replace(category=GPU_CATEGORY, purpose="")
        counts.add(
            identity("gpu", at_ms, card._asdict()),
            at_ms,
            labels,
            {"gpu_ms": ms},
            detail={"uuid": card.uuid, **({"pod": card.pod} if card.pod else {})},
        )


def cards_of(text: str) -> dict[str, Card]:
    """The cards that a scrape shows, by UUID; a card with several pods has the first."""
    found: dict[str, Card] = {}
    for sample in samples(text):
        labels = sample.labels
        if sample.name.startswith("DCGM_FI_") and labels.get("UUID"):
            card = Card(
                labels["UUID"], _model(labels.get("modelName", "")),
                labels.get("exported_namespace") or labels.get("namespace", ""),
                labels.get("exported_pod") or labels.get("pod", ""),
            )  # fmt: skip
        elif sample.name == "nvidia_smi_gpu_info" and labels.get("uuid"):
            card = Card(labels["uuid"], _model(labels.get("name", "")), "", "")
        else:
            continue
        old = found.get(card.uuid)
        if old is None or (card.pod and (not old.pod or card < old)):
            found[card.uuid] = card
    if not found:
        raise malformed("the exposition", "no card of dcgm-exporter or nvidia_gpu_exporter")
    return found


def observed(kept: Kept, cards: Mapping[str, Card], now_ms: int, longest_ms: int) -> Hours:
    """Sums by hour and card, from the hour of the last scrape, which they go on from."""
    hours: Hours = {}
    if _hour(kept.at_ms) == _hour(now_ms) or now_ms - kept.at_ms <= longest_ms:
        hours[_hour(kept.at_ms)] = {Card(*card): ms for card, ms in kept.sums}
    if now_ms - kept.at_ms > longest_ms:
        return hours
    for was in kept.cards:
        card = Card(*was)
        if card.uuid not in cards:
            continue
        since_ms = kept.at_ms
        while since_ms < now_ms:
            until_ms = min(now_ms, _hour(since_ms) + MS_PER_HOUR)
            sums = hours.setdefault(_hour(since_ms), {})
            sums[card] = sums.get(card, 0) + until_ms - since_ms
            since_ms = until_ms
    return hours


def _read(text: str) -> Kept:
    """What was kept; a source of another kind may have had this name before."""
    return Kept(*json.loads(text)[1:]) if text.startswith(f'["{_KIND}", ') else Kept()


def _of_card(usage: Usage) -> Usage:
    """Its pieces add up to the price of the card's hour, and none goes beyond that hour."""
    return usage._replace(resource=json.loads(usage.detail)["uuid"])


def _hour(at_ms: int) -> int:
    return at_ms - at_ms % MS_PER_HOUR


def _model(name: str) -> str:
    """As the price list names it; a card that is not known keeps its own name."""
    return canonical_gpu(name).upper() if is_known_gpu(name) else name or "gpu"
