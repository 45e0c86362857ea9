"""Ninety days with three incidents: all are found, and nobody is woken for anything else."""

from __future__ import annotations

from pathlib import Path

import pytest

from traps.judge import Firing, judge
from traps.ledgers import MINUTE, local
from traps.quarter import INCIDENTS, QUARTER, THE_QUARTER, Incident

pytestmark = pytest.mark.slow

#: Alerts go on this long after their reason: `keep_firing_for`, and an hour of steps.
_AFTER_MS = 70 * MINUTE


@pytest.fixture(scope="module")
def alerts(tmp_path_factory: pytest.TempPathFactory) -> list[Firing]:
    root: Path = tmp_path_factory.mktemp("quarter")
    world = THE_QUARTER.world()
    world.run()
    return judge(root, world.scrapes.lines, QUARTER, THE_QUARTER.look)


@pytest.mark.parametrize("incident", INCIDENTS, ids=lambda incident: incident.tenant_id)
def test_an_incident_is_found(incident: Incident, alerts: list[Firing]) -> None:
    own = [found for found in alerts if found.from_ms in incident.span]
    assert incident.alerts <= {found.alert for found in own}
    first_ms = min(found.from_ms for found in own)
    assert first_ms - incident.span.from_ms <= incident.found_ms, local(first_ms)
    if "BudgetBurnFast" in incident.alerts:
        pages = [found for found in own if ("severity", "critical") in found.labels]
        assert {dict(found.labels)["tenant_id"] for found in pages} == {incident.tenant_id}


def test_not_one_page_outside_the_incidents(alerts: list[Firing]) -> None:
    pages = [found for found in alerts if ("severity", "critical") in found.labels]
    outside = [
        found
        for found in pages
        if not any(
            i.span.from_ms <= found.from_ms and found.to_ms <= i.span.to_ms + _AFTER_MS
            for i in INCIDENTS
        )
    ]
    assert pages
    assert not outside


def test_not_one_warning_that_no_incident_explains(alerts: list[Firing]) -> None:
    unexplained = [
        (found.alert, found.labels, str(local(found.from_ms)))
        for found in alerts
        if not any(
            found.from_ms in incident.echo
            and dict(found.labels).get("tenant_id", incident.tenant_id) == incident.tenant_id
            for incident in INCIDENTS
        )
    ]
    assert not unexplained
