"""What the tags and the service names of a bill say about a charge."""

from __future__ import annotations

import pytest

from costmeter.model import CATEGORIES, Labels
from costmeter.sources.categories import category_of
from costmeter.sources.options import Options
from costmeter.sources.tags import TagKeys, tag_keys

LABELS = Labels("default", "storage", "", "aws", "1", "", "s3", "", "", "", "", "", "")


@pytest.mark.parametrize(
    ("service", "usage", "family", "category"),
    [
        ("Amazon Bedrock", "USE1-Claude-input-tokens", "", "llm_api"),
        ("Amazon Elastic Compute Cloud - Compute", "BoxUsage:p4d.24xlarge", "", "gpu_compute"),
        ("Amazon Elastic Compute Cloud - Compute", "BoxUsage:m6i.large", "", "cpu_compute"),
        ("EC2 - Other", "USE1-EBS:VolumeUsage.gp3", "", "storage"),
        ("EC2 - Other", "USE1-DataTransfer-Out-Bytes", "", "network"),
        ("Amazon Simple Storage Service", "TimedStorage-ByteHrs", "", "storage"),
        ("AWS Support (Business)", "", "", "support"),
        ("Compute Engine", "Nvidia L4 GPU attached to Spot VMs", "", "gpu_compute"),
        ("Compute Engine", "N2 Instance Core running in Americas", "Compute", "cpu_compute"),
        ("BigQuery", "Analysis", "", "data_processing"),
        ("Virtual Machines", "Standard_NC24ads_A100_v4", "Compute", "gpu_compute"),
        ("Bandwidth", "Standard Data Transfer Out", "Networking", "network"),
        ("Amazon SageMaker", "USE1-Host:ml.g5.xlarge", "", "gpu_compute"),
        ("Amazon SageMaker", "USE1-Host:ml.m5.xlarge", "", "managed_services"),
        ("Something new", "", "Networking", "network"),
        ("Something new", "", "Storage", "storage"),
        ("Something new", "", "", "managed_services"),
    ],
)
def test_a_charge_has_the_category_of_what_it_names(
    service: str, usage: str, family: str, category: str
) -> None:
    assert category in CATEGORIES
    assert category_of(service, usage, family) == category


def test_tags_say_labels_and_leave_the_rest() -> None:
    keys = tag_keys(Options({"tenant_tag": "user:tenant", "team_tag": "team"}))
    assert keys.asked == ("user:tenant", "team")
    found = keys.labels(LABELS, {"user:tenant": "acme", "team": "", "other": "x"})
    assert found == LABELS._replace(tenant_id="acme")


def test_a_tag_cannot_take_a_name_of_the_ledger() -> None:
    keys = TagKeys(tenant_id="tenant")
    assert keys.labels(LABELS, {"tenant": "_other"}).tenant_id == "_other-"
    assert keys.labels(LABELS, {"tenant": "unattributed"}).tenant_id == "unattributed-"
