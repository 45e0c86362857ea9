"""From names and labels to an owner: the first label that is there decides."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

from costmeter.gpu.owners.settings import OwnerSettings
from costmeter.model import UNATTRIBUTED
from costmeter.segment import Owner

#: Annotations can be of any length; a label of a metric should not.
LONGEST = 128


class Rules:
    """The rules of one configuration."""

    def __init__(self, settings: OwnerSettings) -> None:
        self._labels = {
            field: names for field, names in settings.labels.items() if field in Owner._fields
        }
        self._default = settings.default
        self._namespaces = settings.namespaces
        self._namespace_is_tenant = settings.namespace_is_tenant
        self._workloads = settings.workloads

    @property
    def names(self) -> frozenset[str]:
        """The labels and annotations that matter; the others need not be kept."""
        return frozenset(name for names in self._labels.values() for name in names)

    def of_pod(
        self, namespace: str, pod: str, container: str, labels: Mapping[str, str] | None
    ) -> Owner:
        """`labels` are the pod's labels, with annotations for names that no label has.

        Without labels because nobody knows them yet (None), the tenant is not guessed by
        the namespace: the pod's own label may name another one.
        """
        owner = self._labelled(labels or {})._replace(
            namespace=namespace, pod=pod, container=container
        )
        if labels is None or owner.tenant_id:
            return self._filled(owner)
        tenant = self._namespaces.get(namespace, "")
        if not tenant and self._namespace_is_tenant:
            tenant = namespace
        return self._filled(owner._replace(tenant_id=tenant))

    def of_workload(
        self, workload: str, labels: Mapping[str, str] | None = None, team: str = ""
    ) -> Owner:
        """What runs outside Kubernetes: `docker:<name>`, `slurm:<job>`, `user:<name>`, ..."""
        owner = self._labelled(labels or {})._replace(workload=workload)
        if not owner.tenant_id:
            tenants = (
                tenant for glob, tenant in self._workloads.items() if fnmatchcase(workload, glob)
            )
            owner = owner._replace(tenant_id=next(tenants, ""))
        return self._filled(owner if owner.team else owner._replace(team=team))

    def _labelled(self, labels: Mapping[str, str]) -> Owner:
        found = {}
        for field, names in self._labels.items():
            value = next((text for name in names if (text := _clean(labels.get(name, "")))), "")
            found[field] = value
        return Owner(tenant_id="")._replace(**found)

    def _filled(self, owner: Owner) -> Owner:
        """The rest from the owner that is configured for this machine."""
        tenant = owner.tenant_id or self._default.tenant_id or UNATTRIBUTED
        return Owner(
            *(mine or theirs for mine, theirs in zip(owner, self._default, strict=True))
        )._replace(tenant_id=tenant)


def _clean(text: str) -> str:
    return "".join(one for one in text if one.isprintable()).strip()[:LONGEST]
