"""Who consumed what a report says, and how its buckets are named."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from hashlib import blake2b

from costmeter.model import DEFAULT_TENANT, OTHER, UNATTRIBUTED, Labels
from costmeter.pricing.providers import canonical_provider
from costmeter.sources.contract import OwnerRule, Settings
from costmeter.sources.reading import clean

#: Names that the ledger keeps for itself.
_RESERVED = (OTHER, UNATTRIBUTED)
_NOBODY = OwnerRule()


class Owners:
    """Labels by the first rule that matches, and by the source's own settings otherwise."""

    def __init__(self, settings: Settings, provider: str, *, nobody: str = DEFAULT_TENANT) -> None:
        """`nobody` is the tenant where neither a rule nor the source names one."""
        self._settings = settings
        self._provider = provider
        self._nobody = nobody

    def labels(
        self,
        model: str,
        *,
        project: str = "",
        api_key: str = "",
        provider: str = "",
        region: str = "",
        service: str = "",
        operation: str = "generation",
    ) -> Labels:
        """Labels for what a report's row says; `provider` where one gateway has several."""
        own = self._settings
        rule = next(
            (
                rule
                for rule in own.owners
                if fnmatchcase(project, rule.project) and fnmatchcase(api_key, rule.api_key)
            ),
            _NOBODY,
        )
        return Labels(
            tenant_id=rule.tenant_id or own.tenant_id or self._nobody,
            category="llm_api",
            purpose="inference",
            provider=canonical_provider(_kept(provider or self._provider)).replace(":", "-"),
            account=own.account,
            region=_kept(region),
            model=_kept(model),
            environment=rule.environment or own.environment,
            team=rule.team,
            project=_kept(project),
            service=_kept(service),
            feature=rule.feature,
            operation=operation,
        )


def _kept(value: str) -> str:
    value = clean(value)
    return f"{value}-" if value in _RESERVED else value


def identity(stream: str, start_ms: int, parts: Mapping[str, str]) -> str:
    """A bucket's group as a short text: the same however often it is restated.

    `parts` are the raw values that the report groups by; empty ones count too.
    """
    raw = "\x1f".join(f"{name}\x1e{value}" for name, value in sorted(parts.items()))
    return f"{stream}.{start_ms // 1000}.{blake2b(raw.encode(), digest_size=12).hexdigest()}"


def line_name(*parts: str) -> str:
    """A bill line's name: readable, and short enough to be stored."""
    name = " | ".join(clean(part) for part in parts if part)
    raw = "\x1f".join(parts)
    if len(name) <= 160 and all(clean(part) == part and " | " not in part for part in parts):
        # An empty part between others would make two lines one: the digest tells them apart.
        gaps = "".join("1" if part else "0" for part in parts)
        return name if "0" not in gaps else f"{name} | {gaps}"
    return f"{name[:120]} | {blake2b(raw.encode(), digest_size=12).hexdigest()}"
