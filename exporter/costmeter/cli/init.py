"""`costmeter init`: a first configuration, with what is most often changed explained."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from costmeter.cli.beside import alertmanager_files, prometheus_files
from costmeter.cli.errors import CommandError
from costmeter.cli.template import SCHEMA_FILE, quoted, render
from costmeter.cli.writing import STDOUT, Written, write_files
from costmeter.config import Config, new_token
from costmeter.config.budgets import Budget
from costmeter.config.checks import mistakes
from costmeter.config.document import parse_document
from costmeter.config.json_schema import render as render_schema
from costmeter.config.kinds import Kind
from costmeter.config.problems import Reading, Wrong
from costmeter.config.records import Section, leaves
from costmeter.config.scopes import ANY_FEED
from costmeter.config.spec import settings_of
from costmeter.config.tokens import RESERVED_FEEDS, TokenEntry
from costmeter.config.zones import fits_cells

TOKENS_FILE = "tokens.yml"
_KINDS: Mapping[str, Kind[Any]] = {leaf.key: leaf.setting.kind for leaf in leaves(Config)}


class _Sender(NamedTuple):
    """A token to make. An empty tenant means that its events say whose they are."""

    name: str
    tenant: str
    secret: str
    digest: str


def init(arguments: argparse.Namespace) -> int:
    """Write the configuration and what was asked for beside it."""
    senders = _senders(arguments.token)
    values = _values(arguments, tokens=bool(senders))
    text = render(values, schema=arguments.schema)
    listen = _check(text, str(arguments.file))
    wants_more = senders or arguments.schema or arguments.prometheus or arguments.alertmanager
    if str(arguments.file) == STDOUT:
        if wants_more:
            raise CommandError(
                "standard output holds the configuration alone; name a FILE to have "
                "--token, --schema, --prometheus and --alertmanager write theirs beside it"
            )
        print(text, end="")
        return 0
    folder = arguments.file.parent
    files = [Written(arguments.file, text)]
    if senders:
        files.append(_tokens_file(folder / TOKENS_FILE, senders))
    if arguments.schema:
        files.append(Written(folder / SCHEMA_FILE, render_schema()))
    if arguments.prometheus:
        files += prometheus_files(folder, listen)
    if arguments.alertmanager:
        files += alertmanager_files(folder)
    if arguments.file in [item.path for item in files[1:]]:
        raise CommandError(f"{arguments.file} is the name of a file beside it; choose another FILE")
    write_files(files, force=arguments.force)
    for sender in senders:
        print(f"token of {sender.name} (give it to the sender, it is shown once): {sender.secret}")
    name = shlex.quote(str(arguments.file))
    print(f"next: costmeter check-config {name}")
    print(f"then: costmeter serve --config.file {name}")
    return 0


def _values(arguments: argparse.Namespace, *, tokens: bool) -> Mapping[str, str]:
    """YAML text by dotted key, of what the flags set. Raises CommandError."""
    values: dict[str, str] = {}
    for flag, key, text in (
        ("--listen", "web.listen_address", arguments.listen),
        ("--ledger", "ledger.path", arguments.ledger),
        ("--timezone", "ledger.reporting_timezone", arguments.timezone),
        ("--budget", "budgets.monthly_usd", arguments.budget),
        ("--gpu", "gpu.enabled", arguments.gpu),
    ):
        if text is not None:
            _read(flag, _KINDS[key], text)
            values[key] = text if key == "budgets.monthly_usd" else quoted(text)
    zone = arguments.timezone
    if zone is not None and not fits_cells(zone, 60):
        values["ledger.cell_minutes"] = "15"
    if tokens:
        values["ingest.tokens_file"] = TOKENS_FILE
    if arguments.tenant:
        values["budgets.items"] = _tenants(arguments.tenant)
    return values


def _tenants(texts: Sequence[str]) -> str:
    """A budget for each TENANT=USD, as items of a list."""
    known = settings_of(Budget)
    names: dict[str, str] = {}
    items = []
    for text in texts:
        tenant, equals, usd = text.rpartition("=")
        if not equals:
            raise CommandError(f"--tenant {text!r} is no pair; write TENANT=USD, as in acme=5000")
        _read("--tenant", known["tenant_id"].kind, tenant)
        _read("--tenant", known["limit_usd"].kind, usd)
        name = "".join(c if c.isascii() and (c.isalnum() or c in "_.-") else "-" for c in tenant)
        name = name[:128]
        if name in names:
            raise CommandError(
                f"--tenant {tenant!r} and {names[name]!r} would be one budget {name!r}; "
                "write the second one into the file by hand, under another name"
            )
        names[name] = tenant
        items.append(f"- name: {quoted(name)}\n  limit_usd: {usd}\n  tenant_id: {quoted(tenant)}\n")
    return "".join(items)


def _senders(texts: Sequence[str]) -> Sequence[_Sender]:
    """A new token for each NAME or NAME=TENANT. Raises CommandError."""
    known = settings_of(TokenEntry)
    found: dict[str, _Sender] = {}
    for text in texts:
        name, equals, tenant = text.partition("=")
        _read("--token", known["name"].kind, name)
        if equals:
            _read("--token", known["tenant_id"].kind, tenant)
        if name in found or name in RESERVED_FEEDS or name == ANY_FEED:
            why = "stands twice" if name in found else "is a word of costmeter's own"
            raise CommandError(f"--token {name!r} {why}; every sender has a name of its own")
        found[name] = _Sender(name, tenant, *new_token())
    return tuple(found.values())


def _tokens_file(path: Path, senders: Sequence[_Sender]) -> Written:
    # Not even --force: who sends with a token of the old file would be locked out.
    if path.exists() or path.is_symlink():
        raise CommandError(
            f"{path} is there already, and its senders would be locked out; "
            "add an entry that 'costmeter token' prints, or remove the file first"
        )
    lines = ["# Who may send usage. Only hashes stand here; `costmeter token` makes more.\n"]
    for sender in senders:
        lines.append(f"- name: {quoted(sender.name)}\n  sha256: {quoted(sender.digest)}\n")
        if sender.tenant:
            lines.append(f"  tenant_id: {quoted(sender.tenant)}\n")
    return Written(path, "".join(lines), 0o600)


def _read(flag: str, kind: Kind[Any], text: str) -> None:
    """Whether the setting takes the text. Raises CommandError in the setting's words."""
    if not text:
        raise CommandError(f"{flag}: nothing stands here; write {kind.write}")
    try:
        kind.read_text(text, Path(), Reading())
    except Wrong as wrong:
        raise CommandError(f"{flag}: {wrong}") from None


def _check(text: str, name: str) -> str:
    """Read the text as a start would, but for the files it names; the listen address."""
    reading = Reading()
    document = parse_document(text, name, Path(), reading)
    reading.raise_problems()
    assert document is not None
    config = Section(Config).read(document, "", reading)
    for key, wrong in mistakes(config):
        reading.wrong_setting(key, wrong)
    reading.raise_problems()
    return config.web.listen_address
