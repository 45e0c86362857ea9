"""Where the rules are, and the Debian programs that judge them."""

import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "alert_rules"

#: libyaml reads the cases ten times as fast as the loader in Python, where it is there.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

PACKAGES = {
    "promtool": "prometheus",
    "amtool": "prometheus-alertmanager",
    "prometheus-alertmanager": "prometheus-alertmanager",
}


def program(name: str) -> str:
    """Full path of a program; without it the tests prove nothing, so they fail."""
    path = shutil.which(name)
    if path is None:
        raise AssertionError(
            f"{name} is not installed: apt-get install --no-install-recommends {PACKAGES[name]}"
        )
    return path


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program("promtool"), *arguments], capture_output=True, text=True)


def amtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program("amtool"), *arguments], capture_output=True, text=True)


def rule_files() -> list[Path]:
    return sorted(RULES.glob("*.rules.yml"))


def case_files() -> list[Path]:
    return sorted((RULES / "tests").glob("*.test.yml"))


@cache
def load(path: Path) -> Any:
    """A YAML file, read once; who changes it takes a copy."""
    return yaml.load(path.read_text(), Loader=LOADER)


def rules() -> list[dict[str, Any]]:
    """Every rule of every file, recording and alerting."""
    return [
        rule for path in rule_files() for group in load(path)["groups"] for rule in group["rules"]
    ]


def alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}
