"""Examples for `--help`, one or a few a command. They are parsed in the tests."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from types import MappingProxyType

#: By the command's words, as people would type them.
EXAMPLES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "": ("costmeter serve", "costmeter cost --by team,model --since 7d"),
        "serve": (
            "costmeter serve --config.file costmeter.yml",
            "costmeter serve --read-only --web.listen-address :9953",
        ),
        "agent": (
            "costmeter agent --config.file agent.yml",
            "costmeter agent --web.listen-address :9953 --log.format json",
        ),
        "check-config": ("costmeter check-config costmeter.yml",),
        "token": ("costmeter token",),
        "demo": ("costmeter demo", "costmeter demo --duration 300 --quiet"),
        "cost": (
            "costmeter cost --by team,model --since 7d",
            "costmeter cost --by model --since 30d --basis all",
            "costmeter cost --by day --where tenant_id=acme --since 2026-11-01 --json",
        ),
        "gpu": (
            "costmeter gpu --by team --since 7d",
            "costmeter gpu --by tenant_id,model --where team=search --json",
        ),
        "ledger as-of": ("costmeter ledger as-of 2026-11-20 --by team",),
        "budget status": (
            "costmeter budget status --level warning,critical,exceeded",
            "costmeter budget status acme --json",
        ),
        "budget history": (
            "costmeter budget history --open --since 7d",
            "costmeter budget history acme --periods",
        ),
        "budget acknowledge": (
            "costmeter budget acknowledge 12 --note 'the limit is raised on Monday'",
        ),
        "anomalies": (
            "costmeter anomalies --open",
            'costmeter anomalies --acknowledge 3f2a9c1b07 --note "launch of search"',
        ),
        "forecast": (
            "costmeter forecast --by team",
            "costmeter forecast --by provider --value openai --chart openai.svg",
        ),
        "what-if": (
            "costmeter what-if --growth 50% --efficiency 10%",
            "costmeter what-if --switch openai/gpt-5=openai/gpt-5-mini --months 6 --json",
        ),
        "verify": ("costmeter verify --ledger.path costmeter-data/ledger.db",),
        "replay": (
            "costmeter replay calls.ndjson --speed 60",
            (
                "costmeter replay calls.csv --columns timestamp=time,model=model,input=tokens "
                "--set provider=openai"
            ),
        ),
        "import": (
            "costmeter import calls.ndjson --dry-run",
            (
                "costmeter import calls.csv --columns timestamp=time,model=model,input=tokens "
                "--compare cost"
            ),
        ),
        "settle": (
            "costmeter settle --since 2026-11-01",
            "costmeter settle --explain openai 2026-11-20",
        ),
        "backfill": (
            "costmeter backfill --until 2026-11-22 --output past.om",
            "costmeter backfill --by day --label job=costmeter --output past/",
        ),
        "export focus": (
            "costmeter export focus --since 2026-11-01 --output focus.csv",
            "costmeter export focus --version 1.4 --output focus.parquet",
        ),
        "reprice": (
            "costmeter reprice --since 2026-07-01 --dry-run",
            "costmeter reprice --since 2026-07-01",
        ),
        "backup": ("costmeter backup /backups/ledger-2026-11-22.db",),
        "restore": ("costmeter restore /backups/ledger-2026-11-22.db",),
        "run": ("costmeter run repricing",),
        "init": (
            "costmeter init --budget 50000 --tenant acme=5000",
            "costmeter init etc/costmeter.yml --token gateway --prometheus --alertmanager",
        ),
        "config-schema": ("costmeter config-schema > costmeter.schema.json",),
        "rules": (
            "costmeter rules --output /etc/prometheus/costmeter",
            (
                "costmeter rules --format prometheusrule --label release=kube-prometheus-stack "
                "| kubectl apply -f -"
            ),
        ),
        "dashboards": (
            "costmeter dashboards --output /var/lib/grafana/dashboards",
            (
                "costmeter dashboards --format configmap --namespace monitoring "
                "| kubectl apply --server-side -f -"
            ),
        ),
        "completion": (
            "source <(costmeter completion bash)",
            "source <(costmeter completion zsh)",
            "costmeter completion fish > ~/.config/fish/completions/costmeter.fish",
        ),
        "estimate call": ("costmeter estimate call openai gpt-4o --tokens input=1200,output=300",),
        "estimate conversation": (
            "costmeter estimate conversation openai gpt-4o --turns 20 --cached",
        ),
        "estimate workload": (
            "costmeter estimate workload --tokens input=1200,output=300 --calls 5000 --top 5",
        ),
        "estimate month": (
            "costmeter estimate month --where tenant_id=acme",
            "costmeter estimate month openai gpt-4o --tokens input=1200,output=300 --calls 5000",
        ),
        "estimate infra": (
            "costmeter estimate infra --gpu A100-40GB --provider aws --gpus 8 --spot-percent 30",
        ),
        "explain": (
            "costmeter explain --by tenant_id,model --since 24h",
            "costmeter explain 'llm_cost_total{model=\"gpt-4o\"}'",
        ),
        "bills check": ("costmeter bills check focus-2026-10.parquet",),
        "prices show": ("costmeter prices show gpt-4o --provider openai",),
        "prices diff": ("costmeter prices diff prices.yml",),
        "prices update": ("costmeter prices update prices.json",),
        "erase-user": ("costmeter erase-user user-4711 --tenant acme --yes",),
    }
)


def with_examples(parser: argparse.ArgumentParser, path: str = "") -> argparse.ArgumentParser:
    """The parser with the examples below the help of each command that brings none."""
    lines = EXAMPLES.get(path)
    if lines and parser.epilog is None:
        parser.epilog = "\n  ".join(("examples:" if len(lines) > 1 else "example:", *lines))
        parser.formatter_class = _Examples
    for action in parser._actions:  # noqa: SLF001 - argparse has no public walk
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for name, inner in action.choices.items():
                with_examples(inner, f"{path} {name}".strip())
    return parser


class _Examples(argparse.HelpFormatter):
    """Leaves the lines of the examples as they are, and wraps all else."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith(("example:", "examples:")):
            return text
        return super()._fill_text(text, width, indent)
