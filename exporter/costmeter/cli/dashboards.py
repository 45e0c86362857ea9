"""`costmeter dashboards`: the dashboards for any Grafana."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from costmeter.cli.errors import CommandError
from costmeter.cli.manifests import (
    MAX_DATA_BYTES,
    config_map,
    file_name,
    metadata_of,
    only_files,
)
from costmeter.cli.shipped import Shipped, choose, dashboard_files
from costmeter.cli.table import Value, show
from costmeter.cli.writing import STDOUT, Written, write_files

#: The label that the sidecar of Grafana's Helm chart looks for unless told otherwise.
LABELS = {
    "app.kubernetes.io/name": "costmeter",
    "app.kubernetes.io/component": "dashboards",
    "grafana_dashboard": "1",
}
#: The annotation by which that sidecar chooses a folder, where it is told to.
FOLDER = "grafana_folder"


def dashboards(arguments: argparse.Namespace) -> int:
    """Write the dashboards, or list them."""
    chosen = choose(dashboard_files(), arguments.names)
    if arguments.list:
        _list(chosen, as_json=arguments.json)
        return 0
    files = list(_files(chosen, arguments))
    if arguments.output != STDOUT:
        folder = Path(arguments.output)
        write_files([Written(folder / name, text) for name, text in files], force=arguments.force)
        return 0
    if arguments.format == "files" and len(files) > 1:
        names = ", ".join(item.name for item in chosen)
        raise CommandError(
            f"several dashboards are no single JSON text; name one of {names}, "
            "or write them to a folder with --output DIR"
        )
    print("---\n".join(text for _, text in files), end="")
    return 0


def _files(chosen: Sequence[Shipped], arguments: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """File names and what goes into them: one object a dashboard, so that each fits."""
    if arguments.format == "files":
        only_files(arguments)
        yield from ((item.file, item.text) for item in chosen)
        return
    annotations = {FOLDER: arguments.folder} if arguments.folder else {}
    meta = metadata_of(arguments.name, arguments.namespace, arguments.label, LABELS, annotations)
    for item in chosen:
        yield file_name(item.name, meta), config_map(item.name, [_fitting(item)], meta)


def _fitting(item: Shipped) -> Shipped:
    """A dashboard that is too large for a ConfigMap, without its white space."""
    if len(item.text.encode()) + len(item.file.encode()) <= MAX_DATA_BYTES:
        return item
    small = json.dumps(json.loads(item.text), ensure_ascii=False, separators=(",", ":"))
    return item._replace(text=f"{small}\n")


def _list(chosen: Sequence[Shipped], *, as_json: bool) -> None:
    rows: list[list[Value]] = []
    for item in chosen:
        page: Mapping[str, Any] = json.loads(item.text)
        panels = sum(1 for _ in _panels(page))
        rows.append([item.name, item.file, str(page.get("uid") or ""), str(page["title"]), panels])
    show(["name", "file", "uid", "title", "panels"], rows, as_json=as_json)


def _panels(page: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Panels that show something; a row only holds others."""
    for panel in page.get("panels", ()):
        if panel.get("type") != "row":
            yield panel
        yield from _panels(panel)
