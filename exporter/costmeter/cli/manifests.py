"""Rules and dashboards as objects for Kubernetes.

A PrometheusRule is for the Prometheus Operator; a ConfigMap is mounted, or found by its
label by the sidecar that Grafana's Helm chart brings. A shipped text goes in indented and
otherwise as it is, so its comments stay and its groups are the same.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from costmeter.cli.errors import CommandError
from costmeter.cli.shipped import Shipped

#: What the API server takes as the data of one ConfigMap: 1 MiB, keys and values together.
MAX_DATA_BYTES = 1024 * 1024
#: How the objects' names begin unless told otherwise.
NAME = "costmeter"
_PART = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = re.compile(rf"(?=.{{1,253}}\Z){_PART}(\.{_PART})*")
_DNS_LABEL = re.compile(rf"(?=.{{1,63}}\Z){_PART}")
_LABEL_WORD = re.compile(r"(?=.{1,63}\Z)[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Metadata:
    """What every object carries. `name` begins the objects' names."""

    name: str
    namespace: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


def metadata_of(
    name: str,
    namespace: str,
    labels: Sequence[str],
    defaults: Mapping[str, str],
    annotations: Mapping[str, str],
) -> Metadata:
    """From the flags; `defaults` are labels that the flags may replace. Raises CommandError."""
    if not _SUBDOMAIN.fullmatch(name):
        raise CommandError(
            f"--name {name!r} is no name of an object; write lower-case letters, digits, - and ."
        )
    if namespace and not _DNS_LABEL.fullmatch(namespace):
        raise CommandError(
            f"--namespace {namespace!r} is no namespace; write lower-case letters, digits and -"
        )
    return Metadata(
        name, namespace, {**defaults, **dict(_label(text) for text in labels)}, annotations
    )


def only_files(arguments: argparse.Namespace) -> None:
    """Refuse flags of objects where plain files are written: nothing would hold them."""
    given = {
        "--name": arguments.name != NAME,
        "--namespace": arguments.namespace,
        "--label": arguments.label,
        "--folder": getattr(arguments, "folder", ""),
    }
    for flag, value in given.items():
        if value:
            raise CommandError(
                f"{flag} belongs to an object of Kubernetes; add --format configmap, "
                f"or leave {flag} out"
            )


def rule_object(shipped: Shipped, meta: Metadata) -> str:
    """One file of rules as a PrometheusRule."""
    head = _head("monitoring.coreos.com/v1", "PrometheusRule", shipped.name, meta)
    return f"{head}spec:\n{_indented(shipped.text, 2)}"


def config_map(part: str, files: Sequence[Shipped], meta: Metadata) -> str:
    """Files as one ConfigMap; `part` ends its name. Raises CommandError above its limit."""
    size = sum(len(item.file.encode()) + len(item.text.encode()) for item in files)
    if size > MAX_DATA_BYTES:
        names = ", ".join(item.file for item in files)
        raise CommandError(
            f"{names}: {size} bytes are more than the {MAX_DATA_BYTES} that a ConfigMap holds; "
            "write --format files, and provision the file itself"
        )
    data = "".join(
        f"  {json.dumps(item.file)}: {'|' if item.text.endswith(chr(10)) else '|-'}\n"
        f"{_indented(item.text, 4)}"
        for item in files
    )
    return f"{_head('v1', 'ConfigMap', part, meta)}data:\n{data}"


def file_name(part: str, meta: Metadata) -> str:
    return f"{_object_name(part, meta)}.yaml"


def _object_name(part: str, meta: Metadata) -> str:
    word = re.sub(r"[^a-z0-9]+", "-", part.lower()).strip("-")
    return f"{meta.name}-{word}"


def _head(api: str, kind: str, part: str, meta: Metadata) -> str:
    name = _object_name(part, meta)
    if not _SUBDOMAIN.fullmatch(name):
        raise CommandError(f"the name {name!r} is longer than 253 characters; shorten --name")
    lines = [f"apiVersion: {api}", f"kind: {kind}", "metadata:", f"  name: {json.dumps(name)}"]
    if meta.namespace:
        lines.append(f"  namespace: {json.dumps(meta.namespace)}")
    for title, pairs in (("labels", meta.labels), ("annotations", meta.annotations)):
        if pairs:
            lines.append(f"  {title}:")
            lines += [f"    {json.dumps(key)}: {json.dumps(value)}" for key, value in pairs.items()]
    return "".join(f"{line}\n" for line in lines)


def _indented(text: str, width: int) -> str:
    lines = text.removesuffix("\n").split("\n")
    return "".join(f"{' ' * width}{line}\n" if line else "\n" for line in lines)


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    prefix, slash, word = key.rpartition("/")
    fits = (
        equals
        and _LABEL_WORD.fullmatch(word)
        and (not slash or _SUBDOMAIN.fullmatch(prefix))
        and (not value or _LABEL_WORD.fullmatch(value))
    )
    if not fits:
        raise CommandError(
            f"--label {text!r} is no label; write KEY=VALUE, such as release=kube-prometheus-stack"
        )
    return key, value
