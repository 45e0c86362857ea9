"""The pods of one node, as far as they matter here, and the book that keeps them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from threading import Lock
from typing import Any, NamedTuple

#: The kubelet and the API server learn of a pod at different moments; what only the kubelet
#: knows after this long is gone, and lingers in its list (before Kubernetes 1.34).
UNKNOWN_IS_GONE_MS = 60_000
_DONE = ("Succeeded", "Failed")
_STATIC_UID = "kubernetes.io/config.hash"


class Pod(NamedTuple):
    """`labels` has annotations for names that no label has. `containers` are names by id."""

    namespace: str
    name: str
    uid: str
    labels: Mapping[str, str]
    done: bool = False
    containers: Mapping[str, str] = {}
    static_uid: str = ""
    address: str = ""


def pod_of(item: Any, names: frozenset[str]) -> Pod:
    """A pod of the API; of its labels and annotations those of `names` are kept.

    Raises KeyError, TypeError or AttributeError for what is no pod.
    """
    metadata = item["metadata"]
    status = item.get("status") or {}
    annotations = metadata.get("annotations") or {}
    said = {**annotations, **(metadata.get("labels") or {})}
    containers = {}
    for kind in ("containerStatuses", "initContainerStatuses"):
        for one in status.get(kind) or ():
            # containerd://<id>, docker://<id>, cri-o://<id>
            identity = str(one.get("containerID") or "").rpartition("/")[2]
            if identity:
                containers[identity] = str(one["name"])
    return Pod(
        str(metadata["namespace"]),
        str(metadata["name"]),
        str(metadata["uid"]),
        {name: str(said[name]) for name in names if name in said},
        status.get("phase") in _DONE,
        containers,
        str(annotations.get(_STATIC_UID, "")),
        str(status.get("podIP") or ""),
    )


class PodBook:
    """Written by the watch, read by others. `version` rises with every change that matters."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._pods: dict[tuple[str, str], Pod] = {}
        self._uids: dict[str, Pod] = {}
        self._containers: dict[str, tuple[Pod, str]] = {}
        self._deleted: dict[tuple[str, str], int] = {}
        self._missing: dict[tuple[str, str], int] = {}
        self.version = 0

    def __len__(self) -> int:
        return len(self._pods)

    def replace(self, pods: Iterable[Pod], now_ms: int) -> None:
        """All pods there are."""
        fresh = {(pod.namespace, pod.name): pod for pod in pods}
        with self._lock:
            for key in self._pods.keys() - fresh.keys():
                self._drop(key, now_ms)
            for pod in fresh.values():
                self._put(pod)

    def put(self, pod: Pod) -> None:
        with self._lock:
            self._put(pod)

    def drop(self, pod: Pod, now_ms: int) -> None:
        """Unless one of the same name has come since."""
        key = (pod.namespace, pod.name)
        with self._lock:
            known = self._pods.get(key)
            if known is not None and known.uid == pod.uid:
                self._drop(key, now_ms)

    def of(self, namespace: str, name: str) -> Pod | None:
        return self._pods.get((namespace, name))

    def has_known(self, namespace: str, name: str) -> bool:
        key = (namespace, name)
        return key in self._pods or key in self._deleted

    def is_gone(self, namespace: str, name: str, now_ms: int) -> bool:
        """Whether a pod in the kubelet's list is over. To be asked while the watch is well."""
        key = (namespace, name)
        with self._lock:
            pod = self._pods.get(key)
            if pod is not None:
                self._missing.pop(key, None)
                return pod.done
            for old in [one for one, at in self._missing.items() if now_ms - at > 3_600_000]:
                del self._missing[old]
            since = self._missing.setdefault(key, now_ms)
            return key in self._deleted or now_ms - since >= UNKNOWN_IS_GONE_MS

    def container_of(self, pod_uid: str, container_id: str) -> tuple[str, str, str] | None:
        """(namespace, pod, container) of a cgroup's ids; container "" where not known."""
        found = self._containers.get(container_id)
        if found is not None:
            return found[0].namespace, found[0].name, found[1]
        pod = self._uids.get(pod_uid)
        return None if pod is None else (pod.namespace, pod.name, "")

    def _put(self, pod: Pod) -> None:
        key = (pod.namespace, pod.name)
        known = self._pods.get(key)
        self._deleted.pop(key, None)
        self._missing.pop(key, None)
        if known == pod:
            return
        if known is not None:
            self._unlink(known)
        self._pods[key] = pod
        for uid in (pod.uid, pod.static_uid):
            if uid:
                self._uids[uid] = pod
        for identity, name in pod.containers.items():
            self._containers[identity] = (pod, name)
        self.version += 1

    def _drop(self, key: tuple[str, str], now_ms: int) -> None:
        self._unlink(self._pods.pop(key))
        self._deleted = {one: at for one, at in self._deleted.items() if now_ms - at < 3_600_000}
        self._deleted[key] = now_ms
        self.version += 1

    def _unlink(self, pod: Pod) -> None:
        for uid in (pod.uid, pod.static_uid):
            self._uids.pop(uid, None)
        for identity in pod.containers:
            self._containers.pop(identity, None)
