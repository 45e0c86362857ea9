"""`costmeter rules`: the alert and recording rules for any Prometheus."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from costmeter.cli.errors import CommandError
from costmeter.cli.manifests import config_map, file_name, metadata_of, only_files, rule_object
from costmeter.cli.shipped import Shipped, choose, rule_files
from costmeter.cli.table import Value, show
from costmeter.cli.writing import STDOUT, Written, write_files

LABELS = {"app.kubernetes.io/name": "costmeter", "app.kubernetes.io/component": "rules"}
_RUNBOOK = re.compile(r"^( *)runbook_url: (\S*/)([^/\s]+)$", re.MULTILINE)
_GROUPS = "groups:\n"


def rules(arguments: argparse.Namespace) -> int:
    """Write the rules, or list them."""
    chosen = choose(rule_files(), arguments.names)
    if arguments.list:
        _list(chosen, as_json=arguments.json)
        return 0
    texts = [
        item._replace(text=linked(item.text, arguments.runbook_url, arguments.dashboard_url))
        for item in chosen
    ]
    if arguments.output == STDOUT:
        print(_stream(texts, arguments), end="")
        return 0
    folder = Path(arguments.output)
    files = [Written(folder / name, text) for name, text in _files(texts, arguments)]
    write_files(files, force=arguments.force)
    return 0


def linked(text: str, runbooks: str, dashboard: str) -> str:
    """Rules with the links of their alerts replaced: only annotations change.

    `runbooks` is the address that the runbooks' file names are put behind, `dashboard`
    that of the page every alert links to; either may be empty. Raises CommandError.
    """
    for flag, url in (("--runbook-url", runbooks), ("--dashboard-url", dashboard)):
        if url and not _is_address(url):
            raise CommandError(f"{flag} {url!r} is no address; write https://HOST/PATH")

    def lines(found: re.Match[str]) -> str:
        indent, base, page = found.groups()
        line = f"{indent}runbook_url: {base}{page}"
        if runbooks:
            line = f"{indent}runbook_url: {json.dumps(runbooks.rstrip('/') + '/' + page)}"
        return f"{line}\n{indent}dashboard_url: {json.dumps(dashboard)}" if dashboard else line

    return _RUNBOOK.sub(lines, text)


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return (
        parts.scheme in ("http", "https")
        and bool(parts.netloc)
        and url.isprintable()
        and not any(character.isspace() and character != " " for character in url)
    )


def _files(texts: Sequence[Shipped], arguments: argparse.Namespace) -> Sequence[tuple[str, str]]:
    """File names and what goes into them."""
    if arguments.format == "files":
        only_files(arguments)
        return [(item.file, item.text) for item in texts]
    meta = metadata_of(arguments.name, arguments.namespace, arguments.label, LABELS, {})
    if arguments.format == "prometheusrule":
        return [(file_name(item.name, meta), rule_object(item, meta)) for item in texts]
    return [(file_name("rules", meta), config_map("rules", texts, meta))]


def _stream(texts: Sequence[Shipped], arguments: argparse.Namespace) -> str:
    """Everything in one text: objects one after the other, or one file of rules."""
    if arguments.format == "files":
        only_files(arguments)
    else:
        return "---\n".join(text for _, text in _files(texts, arguments))
    parts = [_GROUPS]
    for item in texts:
        before, groups, after = item.text.partition(f"\n{_GROUPS}")
        if not groups:
            before, after = "", item.text.removeprefix(_GROUPS)
        parts += [before, "\n" if before else "", after]
    return "".join(parts)


def _list(chosen: Sequence[Shipped], *, as_json: bool) -> None:
    rows: list[list[Value]] = []
    for item in chosen:
        groups = yaml.safe_load(item.text)["groups"]
        inside = [rule for group in groups for rule in group["rules"]]
        alerts = [rule["alert"] for rule in inside if "alert" in rule]
        rows.append(
            [item.name, item.file, len(groups), len(inside) - len(alerts), ", ".join(alerts)]
        )
    show(["name", "file", "groups", "recorded", "alerts"], rows, as_json=as_json)
