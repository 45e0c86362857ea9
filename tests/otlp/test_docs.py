"""What docs/otlp.md shows is what happens."""

from __future__ import annotations

import re
from pathlib import Path

from costmeter.config import load_config
from costmeter.ingest.openapi import description
from costmeter.ingest.otlp.reading import OWNER_ATTRIBUTES
from fakes.served import Rig, serving
from otlp.bodies import NOW_NS

PAGE = (Path(__file__).parents[2] / "docs" / "otlp.md").read_text("utf-8")
CALL = re.compile(r"/v1/traces -H 'Content-Type: application/json' -d '(.*?)'\n```\n\n```json\n(.*?)\n```", re.DOTALL)  # fmt: skip  # noqa: E501


def test_the_answers_are_real() -> None:
    shown = CALL.findall(PAGE)
    assert len(shown) == 2
    with serving(Rig()) as rig:
        for body, answer in shown:
            sent = body.replace("'$(date +%s)000000000'", str(NOW_NS))
            found = rig.ask("POST", "/v1/traces", sent, {"content-type": "application/json"})
            assert (found.status, found.text) == (200, answer)
        assert rig.door is not None
        assert [usage.labels.tenant_id for usage in rig.door.usages] == ["acme"]


def test_the_scope_is_a_configuration(tmp_path: Path) -> None:
    found = re.search(r"```yaml\n(scopes:.*?)```", PAGE, re.DOTALL)
    assert found is not None
    path = tmp_path / "c.yml"
    path.write_text(found[1], "utf-8")
    assert load_config(path, {}).scopes[0].detail_from == "app-otlp"


def test_every_default_attribute_is_told() -> None:
    for names in OWNER_ATTRIBUTES.values():
        for name in names:
            assert f"`{name}`" in PAGE, name


def test_the_routes_are_described() -> None:
    paths = description("0", 10_000)["paths"]
    for path in ("/v1/traces", "/v1/metrics"):
        kinds = paths[path]["post"]["requestBody"]["content"]
        assert set(kinds) == {"application/x-protobuf", "application/json"}
        assert {"200", "400", "401", "403", "413", "415", "429", "503"} <= set(
            paths[path]["post"]["responses"]
        )
