"""A small Kubernetes API server: pods listed and watched, nodes, ResourceSlices.

Plain HTTP on a loopback port, or TLS with a certificate that is given. It keeps versions,
sends bookmarks, forgets old versions (410), cuts connections and refuses as it is told.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

NODE = "node-1"


def pod(
    namespace: str, name: str, *, node: str = NODE, uid: str = "", phase: str = "Running",
    labels: Mapping[str, str] | None = None, annotations: Mapping[str, str] | None = None,
    containers: Mapping[str, str] | None = None, address: str = "",
) -> dict[str, Any]:  # fmt: skip
    """A pod as the API tells it; `containers` are ids by name."""
    return {
        "metadata": {
            "name": name, "namespace": namespace, "uid": uid or f"uid-{namespace}-{name}",
            "labels": dict(labels or {}), "annotations": dict(annotations or {}),
            "managedFields": [{"manager": "kubelet", "fieldsV1": {"f:status": {}}}],
        },
        "spec": {"nodeName": node, "containers": [{"name": one} for one in containers or ["main"]]},
        "status": {
            "phase": phase,
            "podIP": address,
            "containerStatuses": [
                {"name": one, "containerID": f"containerd://{identity}", "ready": True}
                for one, identity in (containers or {}).items()
            ],
        },
    }  # fmt: skip


def resource_slice(
    devices: Mapping[str, Mapping[str, Any]], *, node: str = NODE, driver: str = "gpu.nvidia.com",
    pool: str = NODE, generation: int = 1, basic: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Devices with their attributes; `basic` is the shape until v1beta1."""
    told: list[dict[str, Any]] = [
        {"name": name, "basic": {"attributes": dict(attributes)}}
        if basic
        else {"name": name, "attributes": dict(attributes)}
        for name, attributes in devices.items()
    ]
    return {
        "metadata": {"name": f"{node}-{driver}-{generation}"},
        "spec": {
            "nodeName": node,
            "driver": driver,
            "pool": {"name": pool, "generation": generation, "resourceSliceCount": 1},
            "devices": told,
        },
    }


class KubeApi:
    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.token = "first-token"
        self.nodes: dict[str, dict[str, Any]] = {}
        self.slices: list[dict[str, Any]] = []
        self.slice_versions = ("v1",)
        #: Statuses to answer with instead, by the last part of the path ("pods", "watch", ...).
        self.refuse: dict[str, int] = {}
        #: The same, for one request each.
        self.refuse_next: deque[tuple[str, int]] = deque()
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.padding = 0
        self._pods: dict[tuple[str, str], dict[str, Any]] = {}
        self._version = 100
        self._oldest = 0
        self._events: list[tuple[int, str, dict[str, Any]]] = []
        self._cuts = 0
        self._watches = 0
        self._changed = threading.Condition()
        self._stopped = False
        self._server = _Server(("127.0.0.1", 0), _Handler, self)
        self.scheme = "http"
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
            self.scheme = "https"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> KubeApi:
        self._thread.start()
        return self

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def put(self, one: dict[str, Any]) -> None:
        """A pod comes or changes."""
        key = (one["metadata"]["namespace"], one["metadata"]["name"])
        with self._changed:
            kind = "MODIFIED" if key in self._pods else "ADDED"
            self._tell(kind, one)
            self._pods[key] = one

    def delete(self, namespace: str, name: str) -> None:
        with self._changed:
            one = self._pods.pop((namespace, name))
            self._tell("DELETED", one)

    def bookmark(self) -> None:
        with self._changed:
            self._tell("BOOKMARK", {"kind": "Pod", "metadata": {}})

    def expire(self) -> None:
        """Forget all versions up to now, and cut the watches: they come back to a 410."""
        with self._changed:
            self._version += 1
            self._oldest = self._version
            self._cut()

    def cut(self) -> None:
        """Close every watch."""
        with self._changed:
            self._cut()

    def watches(self) -> int:
        """How many have begun, so that whatever happens next is told to them."""
        return self._watches

    def lists(self) -> int:
        return sum(path == "/api/v1/pods" and "watch" not in query for path, query in self.requests)

    def _cut(self) -> None:
        self._cuts += 1
        self._changed.notify_all()

    def _tell(self, kind: str, one: dict[str, Any]) -> None:
        self._version += 1
        one["metadata"]["resourceVersion"] = str(self._version)
        self._events.append((self._version, kind, json.loads(json.dumps(one))))
        self._changed.notify_all()

    def listed(self, node: str) -> dict[str, Any]:
        with self._changed:
            items = [one for one in self._pods.values() if one["spec"]["nodeName"] == node]
            return {
                "kind": "PodList",
                "apiVersion": "v1",
                "metadata": {"resourceVersion": str(self._version)},
                "items": items,
                "padding": "x" * self.padding,
            }

    def watched(self, node: str, version: int) -> Iterator[dict[str, Any] | None]:
        """Events after a version, as they come; None now and then."""
        with self._changed:
            cuts = self._cuts
            self._watches += 1
            if version < self._oldest:
                text = f"too old resource version: {version} ({self._oldest})"
                yield {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": text}}
                return
        while True:
            with self._changed:
                if not self._events or self._events[-1][0] <= version:
                    self._changed.wait(0.2)
                if self._stopped or self._cuts != cuts:
                    return
                news = [one for one in self._events if one[0] > version]
            for at, kind, one in news:
                version = at
                if kind == "BOOKMARK" or one["spec"]["nodeName"] == node:
                    yield {"type": kind, "object": one}
            if not news:
                yield None


class _Server(ThreadingHTTPServer):
    def __init__(self, address: tuple[str, int], handler: Any, api: KubeApi) -> None:
        super().__init__(address, handler)
        self.api = api

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients go away in the middle; that is what they are here for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def do_GET(self) -> None:
        api = self.server.api
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        subject = "watch" if "watch" in query else url.path.rpartition("/")[2]
        api.requests.append((url.path, query))
        status = api.refuse.get(subject)
        if api.refuse_next and api.refuse_next[0][0] == subject:
            status = api.refuse_next.popleft()[1]
        if self.headers.get("Authorization") != f"Bearer {api.token}":
            status = 401
        if status is not None:
            self._status(status, f"refused with {status}")
        elif url.path == "/api/v1/pods":
            node = query["fieldSelector"].removeprefix("spec.nodeName=")
            if "watch" in query:
                self._stream(api.watched(node, int(query["resourceVersion"])))
            else:
                self._json(api.listed(node))
        elif url.path.startswith("/api/v1/nodes/"):
            node = url.path.rpartition("/")[2]
            if node in api.nodes:
                self._json(api.nodes[node])
            else:
                self._status(404, f'nodes "{node}" not found')
        else:
            self._slices(url.path)

    def _slices(self, path: str) -> None:
        api = self.server.api
        group, _, resource = path.removeprefix("/apis/resource.k8s.io/").partition("/")
        if group in api.slice_versions and resource == "resourceslices":
            self._json({"kind": "ResourceSliceList", "metadata": {}, "items": api.slices})
        else:
            self._status(404, "the server could not find the requested resource")

    def _json(self, answer: Any, status: int = 200) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _status(self, status: int, message: str) -> None:
        self._json({"kind": "Status", "code": status, "message": message}, status)

    def _stream(self, events: Iterator[dict[str, Any] | None]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        for event in events:
            if event is None:
                continue
            line = json.dumps(event).encode() + b"\n"
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()


@contextmanager
def kube_api(tls: ssl.SSLContext | None = None) -> Iterator[KubeApi]:
    one = KubeApi(tls).start()
    try:
        yield one
    finally:
        one.stop()


def write_token(path: Path, token: str = "first-token") -> Path:
    path.write_text(token)
    return path
