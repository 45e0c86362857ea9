"""Settings of polled sources: which provider is asked, with which key, and how often."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

from msgspec import Struct

from costmeter.config.kinds import Amount, Kind, Pattern, ReadFile, Switch, Whole
from costmeter.config.records import ListOf, Records
from costmeter.config.scopes import GLOB
from costmeter.config.spec import Setting
from costmeter.config.tokens import RESERVED_FEEDS
from costmeter.config.values import NAME, OPTIONAL_LABEL

_VARIABLE: Kind[str] = Pattern(
    r"[A-Za-z_][A-Za-z0-9_]{0,127}",
    "the name of a variable",
    "one like OPENAI_ADMIN_KEY",
    empty=True,
)
_URL: Kind[str] = Pattern(
    r"https?://[^\s@?#]{1,500}", "a base URL", "one like https://api.example.com/v1", empty=True
)
_OPTION: Kind[str] = Pattern(
    r"[a-z][a-z0-9_]{0,63}=[^\x00-\x1f\x7f]{0,500}", "an option", "one like costs=false"
)
_LOCAL = ("http://127.", "http://localhost", "http://[::1]")


class Owner(Struct, frozen=True):
    """Whose usage it is; the first rule that matches decides."""

    project: Annotated[
        str, Setting(GLOB, "Pattern of the provider's project, workspace or team.")
    ] = "*"
    api_key: Annotated[str, Setting(GLOB, "Pattern of the provider's id of the key.")] = "*"
    tenant_id: Annotated[str, Setting(OPTIONAL_LABEL, "The tenant.")] = ""
    environment: Annotated[str, Setting(OPTIONAL_LABEL, "The environment.")] = ""
    team: Annotated[str, Setting(OPTIONAL_LABEL, "The team.")] = ""
    feature: Annotated[str, Setting(OPTIONAL_LABEL, "The feature.")] = ""


class Source(Struct, frozen=True):
    name: Annotated[
        str,
        Setting(
            NAME,
            "What the source is called: in metrics, as the feed of its usage, and in "
            "`detail_from` and `amount_from` of scopes.",
            required=True,
        ),
    ] = ""
    kind: Annotated[
        str,
        Setting(
            NAME,
            "What is asked: openai, anthropic, openrouter, litellm, bedrock, vertex, "
            "azure_openai, aws_cost_explorer, aws_data_exports, gcp_billing, gcp_gpu, "
            "azure_cost, focus, cur, inference, gpu_scrape, opencost, promql, or a kind that "
            "an installed package adds.",
            required=True,
        ),
    ] = ""
    enabled: Annotated[bool, Setting(Switch(), "False keeps the source but asks it no more.")] = (
        True
    )
    key_file: Annotated[
        Path | None,
        Setting(ReadFile(optional=True), "A file with the key. It is read anew for each poll."),
    ] = None
    key_variable: Annotated[
        str, Setting(_VARIABLE, "The environment variable with the key, instead of a file.")
    ] = ""
    base_url: Annotated[
        str, Setting(_URL, "Where it is asked. Empty: the provider's own address.")
    ] = ""
    account: Annotated[
        str, Setting(OPTIONAL_LABEL, "The account's name, for scopes and prices.")
    ] = ""
    tenant_id: Annotated[
        str, Setting(OPTIONAL_LABEL, "The tenant of what no rule in `owners` matches.")
    ] = ""
    environment: Annotated[str, Setting(OPTIONAL_LABEL, "The environment of the rest.")] = ""
    owners: Annotated[
        tuple[Owner, ...],
        Setting(
            Records(Owner),
            "Rules with `project`, `api_key` (patterns), and what they give: `tenant_id`, "
            "`environment`, `team`, `feature`. The first that matches decides.",
        ),
    ] = ()
    every_seconds: Annotated[
        int,
        Setting(Whole(0, 604800), "How often it is asked. 0: as its kind advises.", unit="seconds"),
    ] = 0
    restated_days: Annotated[
        int,
        Setting(
            Whole(0, 45),
            "How far back each poll reads again, because providers restate. 0: as its kind "
            "advises.",
            unit="days",
        ),
    ] = 0
    lookback_days: Annotated[
        int,
        Setting(
            Whole(0, 400),
            "How far back the first poll reads. 0: as its kind advises.",
            unit="days",
        ),
    ] = 0
    timeout_seconds: Annotated[
        int, Setting(Whole(1, 600), "How long an answer may take.", unit="seconds")
    ] = 30
    calls_per_day: Annotated[
        int, Setting(Whole(0, 1000000), "The most calls in a day (UTC). 0: no limit.")
    ] = 10000
    usd_per_day: Annotated[
        int | None,
        Setting(
            Amount(optional=True),
            "The most that calls may cost in a day (UTC). Empty: no limit.",
            unit="USD",
        ),
    ] = None
    options: Annotated[
        tuple[str, ...],
        Setting(ListOf(_OPTION, "options"), "What the kind takes beside this, as key=value."),
    ] = ()

    def by_option(self) -> Mapping[str, str]:
        """The options by their key."""
        return {key: value for key, _, value in (text.partition("=") for text in self.options)}

    def mistakes(self) -> Iterator[tuple[str, str]]:
        """Settings that do not go together: (key, what to write instead)."""
        if self.name in RESERVED_FEEDS | {"any", "none"}:
            yield "name", f"'{self.name}' is costmeter's own; write another name"
        if self.key_file is not None and self.key_variable:
            yield "key_variable", "stands beside key_file; keep one of them"
        if self.base_url.startswith("http://") and not self.base_url.startswith(_LOCAL):
            named = self.key_file is not None or self.key_variable
            if named and self.kind != "litellm":
                yield "base_url", "would send the key in the clear; write https://"
        keys = [text.partition("=")[0] for text in self.options]
        for key in sorted({key for key in keys if keys.count(key) > 1}):
            yield "options", f"gives {key} twice; keep one of them"
