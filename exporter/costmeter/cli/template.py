"""The text of a first configuration: the common settings with what they mean.

A setting that was chosen stands there; every other one is a comment with its default,
without a space after the `#`, which has to go to change it. The sections stand there
already.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence

import yaml

from costmeter.config.examples import BY_KEY
from costmeter.config.records import Records, Section
from costmeter.config.schema import Config
from costmeter.config.spec import Setting, settings_of

SCHEMA_FILE = "costmeter.schema.json"
_WIDTH = 88
#: By section, in the order of the file; the rest is in docs/configuration.md.
COMMON: Mapping[str, Sequence[str]] = {
    "ledger": ("path", "reporting_timezone", "cell_minutes", "extra_labels"),
    "web": ("listen_address", "config_file"),
    "ingest": ("tokens_file",),
    "budgets": ("monthly_usd", "items"),
    "prices": ("files",),
    "gpu": ("enabled", "provider", "region", "instance_type", "purchase", "tenant_id"),
    "scopes": (),
    "log": ("level", "format"),
}
#: What the descriptions leave open.
_MORE: Mapping[str, str] = {
    "web.config_file": "Needed before the address above is opened to others.",
    "ingest.tokens_file": (
        "`costmeter token` makes a token and its entry. Senders on other machines need one."
    ),
    "prices.files": "docs/pricing.md says what they may hold; a contract price, for example:",
}
#: What such a file holds.
PRICE_FILE = """\
prices:
  - {provider: openai, model: gpt-4o, from: 2026-07-01, source: contract 4711,
     usd_per_million: {input: 2.00, output: 8.00}}
"""
_HEAD = """\
# A configuration of costmeter. Everything may be left out. Settings behind a # without a
# space are at their defaults, or examples: take the # away to change them. Then check the
# file with `costmeter check-config`; a running exporter reads it again on SIGHUP.
"""
_EDITORS = f"""\
# For completion and checks in an editor: `costmeter config-schema > {SCHEMA_FILE}`, and
# this as the first line: `# yaml-language-server: $schema={SCHEMA_FILE}`
"""


def render(values: Mapping[str, str], *, schema: bool) -> str:
    """The file, with `values` (YAML text by dotted key) set; lists as lines of items."""
    first = f"# yaml-language-server: $schema={SCHEMA_FILE}\n" if schema else ""
    lines = [f"{first}{_HEAD}{'' if schema else _EDITORS}".rstrip("\n")]
    known = settings_of(Config)
    for name, keys in COMMON.items():
        section = known[name]
        lines += ["", *_comment(section.about, "")]
        if isinstance(section.kind, Section):
            lines.append(f"{name}:")
            inner = settings_of(section.kind.record)
            for number, key in enumerate(keys):
                lines += [""] * (number > 0)
                lines += _setting(inner[key], f"{name}.{key}", values)
        else:
            lines += _list(name, name, values, "")
    return "\n".join(lines) + "\n"


def quoted(text: str) -> str:
    """Any text as YAML that reads as text again, also true, 007 and what is not ASCII."""
    shown: str = yaml.safe_dump(text, default_style='"', allow_unicode=True, width=2**31)
    return shown.rstrip("\n")


def _setting(setting: Setting, key: str, values: Mapping[str, str]) -> Iterator[str]:
    unit = f" Unit: {setting.unit}." if setting.unit else ""
    more = f" {_MORE[key]}" if key in _MORE else ""
    yield from _comment(f"{setting.about}{unit}{more}", "  ")
    if key == "prices.files":
        yield from (f"  #   {line}" for line in PRICE_FILE.splitlines())
    if isinstance(setting.kind, Records):
        yield from _list(setting.key, key, values, "  ")
    elif key in values:
        yield f"  {setting.key}: {values[key]}"
    else:
        yield f"  #{setting.key}: {setting.show_default()}".rstrip()


def _list(word: str, key: str, values: Mapping[str, str], indent: str) -> Iterator[str]:
    mark, text = ("", values[key]) if key in values else ("#", BY_KEY[key])
    if mark:
        yield f"{indent}# For example:"
    yield f"{indent}{mark}{word}:"
    for line in text.splitlines():
        yield f"{indent}{mark}  {line}"


def _comment(text: str, indent: str) -> Iterator[str]:
    for line in textwrap.wrap(
        text, _WIDTH - len(indent), break_long_words=False, break_on_hyphens=False
    ):
        yield f"{indent}# {line}"
