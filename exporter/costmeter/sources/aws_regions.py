"""The region that a usage type of AWS begins with, such as EUC1 in EUC1-BoxUsage:p5.48xlarge."""

from __future__ import annotations

from collections.abc import Mapping

#: The codes in usage types of AWS's own price lists.
_REGIONS: Mapping[str, str] = {
    "USE1": "us-east-1", "USE2": "us-east-2", "USW1": "us-west-1", "USW2": "us-west-2",
    "UGE1": "us-gov-east-1", "UGW1": "us-gov-west-1",
    "CAN1": "ca-central-1", "CAN2": "ca-west-1", "MXC1": "mx-central-1", "SAE1": "sa-east-1",
    "EU": "eu-west-1", "EUW1": "eu-west-1", "EUW2": "eu-west-2", "EUW3": "eu-west-3",
    "EUC1": "eu-central-1", "EUC2": "eu-central-2", "EUN1": "eu-north-1",
    "EUS1": "eu-south-1", "EUS2": "eu-south-2",
    "APN1": "ap-northeast-1", "APN2": "ap-northeast-2", "APN3": "ap-northeast-3",
    "APS1": "ap-southeast-1", "APS2": "ap-southeast-2", "APS3": "ap-south-1",
    "APS4": "ap-southeast-3", "APS5": "ap-south-2", "APS6": "ap-southeast-4",
    "APE1": "ap-east-1", "AFS1": "af-south-1", "MES1": "me-south-1", "MEC1": "me-central-1",
    "ILC1": "il-central-1",
}  # fmt: skip
#: Their usage types in us-east-1 bear no code; elsewhere none means that there is no region.
_BARE = ("Amazon Elastic Compute Cloud", "EC2 - Other", "Amazon Simple Storage Service")
#: Its codes are parts of the world.
_WORLDWIDE = ("Amazon CloudFront",)


def region_of_usage(service: str, usage_type: str) -> str:
    """The region; empty where the usage type does not say one."""
    if service.startswith(_WORLDWIDE):
        return ""
    code, dash, _ = usage_type.partition("-")
    if dash and code in _REGIONS:
        return _REGIONS[code]
    return "us-east-1" if usage_type and service.startswith(_BARE) else ""
