"""Whose an allocation is: its name is what it was aggregated by, with '/' between the parts."""

from __future__ import annotations

import re

from costmeter.model import UNATTRIBUTED, Labels
from costmeter.pricing.gpu import ON_DEMAND
from costmeter.sources.contract import Settings
from costmeter.sources.options import Options
from costmeter.sources.owners import Owners
from costmeter.sources.reading import clean
from costmeter.sources.tags import tag_keys

_FIELDS = (
    "cluster", "node", "namespace", "controllerKind", "controller", "pod", "container",
    "service", "deployment", "statefulset", "daemonset", "job", "department", "environment",
    "owner", "product", "team",
)  # fmt: skip
_FIELD = re.compile(rf"{'|'.join(_FIELDS)}|(label|annotation):[A-Za-z0-9_.-]+")


class AllocationOwners:
    """Takes the options aggregate, provider, region, service, and tenant_tag and so on."""

    def __init__(self, settings: Settings, options: Options) -> None:
        """Raises ValueError."""
        self.aggregate = options.word("aggregate", "namespace")
        self._keys = [part.rpartition(":")[2] for part in self.aggregate.split(",")]
        for part in self.aggregate.split(","):
            if not _FIELD.fullmatch(part):
                raise ValueError(
                    f"option aggregate names {part!r}; write for example namespace, controller "
                    "or namespace,label:team"
                )
        self._tags = tag_keys(options)
        for key in self._tags.asked:
            if key not in self._keys:
                raise ValueError(
                    f"option aggregate does not name {key!r}, which a tag option reads; "
                    f"write for example aggregate={self.aggregate},label:{key}"
                )
        provider = options.word("provider", "kubernetes")
        self._region = options.word("region", "")
        self._service = options.word("service", "")
        self._owners = Owners(settings, provider, nobody=UNATTRIBUTED)

    def labels(self, name: str, model: str, category: str, nobody: str = UNATTRIBUTED) -> Labels:
        """`nobody` is the tenant of what is idle, unallocated or not mounted."""
        parts = name.split("/")
        said = [part for part in parts if not _special(part)]
        # Where the parts are not as many as were asked for, none is taken for another.
        fits = len(parts) == len(self._keys)
        tags = {
            key: part
            for key, part in zip(self._keys, parts, strict=False)
            if fits and not _special(part)
        }
        labels = self._owners.labels(
            model,
            project=name if said else "",
            region=self._region,
            service=self._service,
            operation=ON_DEMAND if category == "gpu_compute" and model else "",
        )._replace(category=category, purpose="")
        if not said or "__idle__" in parts:
            special = next((part for part in parts if part.startswith("__")), "")
            return labels._replace(
                tenant_id=nobody, environment="", team="", feature="", project="",
                service=self._service or clean(special.strip("_")),
            )  # fmt: skip
        labels = self._tags.labels(labels, tags)
        if labels.tenant_id == UNATTRIBUTED:
            labels = labels._replace(tenant_id=nobody)
        return labels


def _special(part: str) -> bool:
    """`__idle__`, `__unallocated__`, `__unmounted__`, and an empty part."""
    return not part or (part.startswith("__") and part.endswith("__"))
