"""Settings, credentials and kinds: what is wrong is said, and no secret is shown."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import pytest

from costmeter.config import ConfigError, load_config
from costmeter.engine.pollers import source_of
from costmeter.sources.allowance import Allowance, AllowanceSpent, Spent
from costmeter.sources.contract import Settings
from costmeter.sources.http import Api
from costmeter.sources.owners import identity, line_name
from costmeter.sources.registry import BUILT_IN, kinds, make
from costmeter.sources.secret import Secret, SecretError


def test_secrets_are_read_anew_and_never_shown(tmp_path: Path) -> None:
    path = tmp_path / "key"
    secret = Secret(path)
    with pytest.raises(SecretError, match="cannot be read: No such file"):
        secret.read()
    path.write_text("sk-one\n")
    assert secret.read() == "sk-one"
    path.write_text("sk-two")
    assert secret.read() == "sk-two"
    for wrong in ("", "  \n", "two words", "sk-\u00e9", "line\nline"):
        path.write_text(wrong)
        with pytest.raises(SecretError) as caught:
            secret.read()
        assert not wrong.strip() or wrong not in str(caught.value)
    path.write_text("x" * 20_000)
    with pytest.raises(SecretError, match="too long"):
        secret.read()
    assert repr(secret) == f"Secret(from {path})"
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(SecretError, match="the variable KEY holds no credential"):
        Secret(variable="KEY", environ={}).read()


@pytest.mark.parametrize(
    "url", ["", "ftp://x", "api.example.com", "https://u:p@x", "https://x?a=b", "https://x#f"]
)
def test_base_urls_that_cannot_be(url: str) -> None:
    with pytest.raises(ValueError, match="base URL"):
        Api(url, Secret())


#: Options without which a kind does not know what to ask for.
NEEDED: Mapping[str, Mapping[str, str]] = {
    "azure_openai": {"subscriptions": "a"},
    "azure_cost": {"subscriptions": "a"},
    "vertex": {"project": "acme-prod"},
    "gcp_gpu": {"project": "acme-prod"},
    "promql": {
        "query": "increase(tokens_total[$window])",
        "quantity": "input",
        "provider": "vllm",
        "model": "m",
    },
    "focus": {"path": "s3://acme-bills/*.csv"},
    "cur": {"path": "s3://acme-bills/*.csv"},
    "azure_ea": {"path": "s3://acme-bills/*.csv"},
    "aws_data_exports": {"path": "s3://acme-bills/exports/costs"},
    "gcp_billing": {"table": "acme-billing.export.gcp_billing_export_v1_0123AB"},
}


def test_kinds_and_their_mistakes() -> None:
    assert set(BUILT_IN) <= set(kinds())
    for kind in BUILT_IN:
        needed = NEEDED.get(kind, {})
        source = make(kind, Settings("s", Secret(), base_url="https://x.example", options=needed))
        assert source.name == "s"
        more = {**needed, "colour": "1"}
        with pytest.raises(ValueError, match=r"source 's': .*no option 'colour'; known: "):
            make(kind, Settings("s", Secret(), base_url="https://x.example", options=more))
    with pytest.raises(ValueError, match="there is no kind of source 'x'; choose from anthropic"):
        make("x", Settings("s", Secret()))
    with pytest.raises(ValueError, match="needs base_url"):
        make("litellm", Settings("s", Secret()))
    with pytest.raises(ValueError, match="option costs=maybe is neither true nor false"):
        make("openai", Settings("s", Secret(), options={"costs": "maybe"}))


def test_a_package_adds_a_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A third party's package is a module and an entry point in its metadata."""
    (tmp_path / "acme_meter.py").write_text(
        "class Meter:\n    def __init__(self, settings):\n        self.name = settings.name\n"
    )
    about = tmp_path / "acme_meter-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-meter\nVersion: 1\n")
    (about / "entry_points.txt").write_text(
        "[costmeter.sources]\nacme = acme_meter:Meter\nbroken = acme_meter:Missing\n"
        "openai = acme_meter:Meter\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert {"acme", "broken"} <= set(kinds())
    assert make("acme", Settings("mine", Secret())).name == "mine"
    assert type(make("openai", Settings("o", Secret()))).__name__ == "OpenAI"
    with pytest.raises(ValueError, match="of kind 'broken' cannot be loaded"):
        make("broken", Settings("s", Secret()))
    assert isinstance(sys.modules.pop("acme_meter"), ModuleType)


def test_from_the_file_to_the_source(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-x")
    (tmp_path / "key").chmod(0o600)
    path = tmp_path / "costmeter.yml"
    path.write_text("""
sources:
  - name: bill
    kind: openai
    key_file: key
    every_seconds: 900
    owners: [{project: "proj_*", tenant_id: acme}]
    options: [usage=completions+embeddings, final_after_days=5]
""")
    config = load_config(path, {})
    assert config.warnings == ()
    source = source_of(config.sources[0])
    assert (source.name, source.rhythm.every_seconds, source.rhythm.restated_days) == (
        "bill",
        900,
        5,
    )


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("{kind: openai}", "sources[0].name: is missing"),
        ("{name: gpu, kind: openai}", "is costmeter's own; write another name"),
        ("{name: a, kind: b, key_file: nowhere}", "there is no file"),
        ("{name: a, kind: b, base_url: 'http://x.example', key_variable: K}", "in the clear"),
        ("{name: a, kind: b, options: [a=1, a=2]}", "gives a twice"),
        ("{name: a, kind: b, options: [colour]}", "is not an option; write one like costs=false"),
        ("{name: a, kind: b, api_key: sk-1}", "is no setting"),
    ],
)  # fmt: skip
def test_mistakes_in_the_file(tmp_path: Path, entry: str, said: str) -> None:
    path = tmp_path / "costmeter.yml"
    path.write_text(f"sources:\n  - {entry}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path, {})
    assert said in str(caught.value)
    assert "sk-1" not in str(caught.value)


def test_an_allowance_begins_anew_at_midnight_utc() -> None:
    day = 86_400_000
    allowance = Allowance(2, 30_000_000)
    allowance.take(day - 5, 10_000_000)
    allowance.take(day - 4, 10_000_000)
    with pytest.raises(AllowanceSpent, match="all 2 calls of today are made") as caught:
        allowance.take(day - 3)
    assert caught.value.wait_ms == 3
    allowance.take(day, 30_000_000)
    with pytest.raises(AllowanceSpent, match=r"0\.03 USD were spent"):
        allowance.take(day, 1)
    assert (allowance.calls, allowance.nano, allowance.spent) == (
        3,
        50_000_000,
        Spent(1, 1, 30_000_000),
    )
    assert allowance.used_ratio(day) == 1.0
    assert allowance.used_ratio(2 * day) == 0.0
    assert Allowance().used_ratio(day) is None


def test_names_of_lines_tell_lines_apart() -> None:
    parts = [
        ("a", "b"),
        ("a", "", "b"),
        ("a | b",),
        ("a ", "b"),
        ("x" * 300,),
        ("x" * 299,),
        ("", "a"),
    ]
    names = [line_name(*one) for one in parts]
    assert len(set(names)) == len(parts)
    assert all(len(name) <= 200 for name in names)
    assert names[0] == "a | b"
    assert identity("s", 0, {"a": "x"}) != identity("s", 0, {"a": "", "b": "x"})
