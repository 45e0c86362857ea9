"""From labels and names to an owner."""

from __future__ import annotations

from costmeter.gpu.owners.rules import LONGEST, Rules
from costmeter.gpu.owners.settings import OwnerSettings
from costmeter.segment import Owner

KEY = ("ml", "train-0", "main")
NAMED = Owner(namespace="ml", pod="train-0", container="main")


def test_the_first_label_that_is_there_decides() -> None:
    labels = {"tenant": "second", "costmeter.dev/tenant": "first", "env": "prod", "team": "search"}
    assert Rules(OwnerSettings()).of_pod(*KEY, labels) == NAMED._replace(
        tenant_id="first", environment="prod", team="search"
    )


def test_every_field_has_its_labels() -> None:
    rules = Rules(
        OwnerSettings(
            labels={name: (f"x/{name}",) for name in (*Owner._fields[:6], "serves", "no-field")}
        )
    )
    labels = {f"x/{name}": f"the {name}" for name in (*Owner._fields, "no-field")}
    found = rules.of_pod(*KEY, labels)
    assert found[:6] == tuple(f"the {name}" for name in Owner._fields[:6])
    assert found.serves == "the serves"
    assert (found.namespace, found.pod, found.container) == KEY
    assert rules.names == {f"x/{name}" for name in (*Owner._fields[:6], "serves")}


def test_the_namespace_names_the_tenant_where_no_label_does() -> None:
    rules = Rules(OwnerSettings(namespaces={"ml": "acme"}))
    assert rules.of_pod(*KEY, {}).tenant_id == "acme"
    assert rules.of_pod("web", "p", "c", {}).tenant_id == "web"
    assert rules.of_pod(*KEY, {"tenant": "other"}).tenant_id == "other"
    strict = Rules(OwnerSettings(namespace_is_tenant=False, default=Owner("house")))
    assert strict.of_pod("web", "p", "c", {}).tenant_id == "house"


def test_without_labels_yet_the_tenant_is_not_guessed() -> None:
    rules = Rules(OwnerSettings(namespaces={"ml": "acme"}))
    assert rules.of_pod(*KEY, None) == NAMED._replace(tenant_id="unattributed")


def test_the_configured_owner_fills_what_nobody_says() -> None:
    rules = Rules(OwnerSettings(default=Owner("house", "prod", "infra", "p", "f", "training")))
    found = rules.of_pod(*KEY, {"team": "search"})
    assert found[:6] == ("ml", "prod", "search", "p", "f", "training")
    assert rules.of_workload("user:ada")[:3] == ("house", "prod", "infra")


def test_values_are_cleaned() -> None:
    labels = {"tenant": " a\nb\x00 ", "team": "\t", "project": "x" * 1000}
    found = Rules(OwnerSettings()).of_pod(*KEY, labels)
    assert (found.tenant_id, found.team, len(found.project)) == ("ab", "", LONGEST)


def test_workloads_have_tenants_by_pattern() -> None:
    rules = Rules(OwnerSettings(workloads={"user:ada": "acme", "slurm:*": "lab", "user:*": "else"}))
    tenants = {
        name: rules.of_workload(name).tenant_id
        for name in ("user:ada", "user:bob", "slurm:12", "docker:web")
    }
    assert tenants == {
        "user:ada": "acme", "user:bob": "else", "slurm:12": "lab", "docker:web": "unattributed",
    }  # fmt: skip
    labelled = rules.of_workload("slurm:12", {"tenant": "said"}, "physics")
    assert (labelled.tenant_id, labelled.team, labelled.workload) == ("said", "physics", "slurm:12")
    assert rules.of_workload("slurm:12", {"team": "said"}, "physics").team == "said"
