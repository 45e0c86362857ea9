"""FOCUS's columns: which there are in a version, of which type, and which may be null.

Names, types and nullability are those of the FinOps Open Cost and Usage Specification, 1.2 and
1.4 (https://focus.finops.org). Columns that begin with `x_` are our own.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

from costmeter.model import GPU_ENERGY, GPU_TIME_CLASSES

VERSIONS = ("1.2", "1.4")
Type = Literal["string", "time", "decimal", "json"]


class Column(NamedTuple):
    name: str
    type: Type
    nullable: bool = False
    versions: tuple[str, ...] = VERSIONS


#: In the order in which they stand in a file.
COLUMNS: tuple[Column, ...] = (
    Column("BillingAccountId", "string"),
    Column("BillingAccountName", "string", nullable=True),
    Column("BillingPeriodStart", "time"),
    Column("BillingPeriodEnd", "time"),
    Column("ChargePeriodStart", "time"),
    Column("ChargePeriodEnd", "time"),
    Column("ChargeCategory", "string"),
    Column("ChargeClass", "string", nullable=True),
    Column("ChargeDescription", "string", nullable=True),
    Column("ChargeFrequency", "string"),
    Column("BilledCost", "decimal"),
    Column("EffectiveCost", "decimal"),
    Column("ListCost", "decimal"),
    Column("ContractedCost", "decimal"),
    Column("BillingCurrency", "string"),
    Column("ConsumedQuantity", "decimal", nullable=True),
    Column("ConsumedUnit", "string", nullable=True),
    Column("PricingQuantity", "decimal", nullable=True),
    Column("PricingUnit", "string", nullable=True),
    Column("CommitmentDiscountStatus", "string", nullable=True),
    Column("InvoiceId", "string", nullable=True),
    Column("InvoiceDetailId", "string", nullable=True, versions=("1.4",)),
    Column("InvoiceIssuerName", "string"),
    Column("ProviderName", "string", versions=("1.2",)),
    Column("PublisherName", "string", versions=("1.2",)),
    Column("ServiceProviderName", "string", versions=("1.4",)),
    Column("HostProviderName", "string", nullable=True, versions=("1.4",)),
    Column("RegionId", "string", nullable=True),
    Column("RegionName", "string", nullable=True),
    Column("ServiceCategory", "string"),
    Column("ServiceSubcategory", "string"),
    Column("ServiceName", "string"),
    Column("SkuId", "string", nullable=True),
    Column("SkuMeter", "string", nullable=True),
    Column("SkuPriceId", "string", nullable=True),
    Column("SkuPriceDetails", "json", nullable=True),
    Column("Tags", "json", nullable=True),
    Column("x_Category", "string"),
    Column("x_Kind", "string"),
    Column("x_Model", "string", nullable=True),
    Column("x_Scope", "string"),
)


def columns_of(version: str) -> tuple[Column, ...]:
    return tuple(column for column in COLUMNS if version in column.versions)


#: (ServiceCategory, ServiceSubcategory) of our categories; others are of no family.
SERVICES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "gpu_compute": ("Compute", "Virtual Machines"),
        "cpu_compute": ("Compute", "Virtual Machines"),
        "memory": ("Compute", "Other (Compute)"),
        "storage": ("Storage", "Other (Storage)"),
        "network": ("Networking", "Other (Networking)"),
        "managed_services": ("Other", "Other (Other)"),
        "llm_api": ("AI and Machine Learning", "Generative AI"),
        "data_processing": ("Analytics", "Data Processing"),
        "data_annotation": ("AI and Machine Learning", "Other (AI and Machine Learning)"),
        "personnel": ("Other", "Other (Other)"),
        "software_license": ("Business Applications", "Other (Business Applications)"),
        "support": ("Management and Governance", "Support"),
        "security_compliance": ("Security", "Other (Security)"),
    }
)
NO_SERVICE = ("Other", "Other (Other)")

#: What a line of a bill is for: (ChargeCategory, ChargeFrequency). Support and fixed costs are
#: used up on their day: a purchase is for something later, and costs nothing on its own day.
CHARGES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "usage": ("Usage", "Usage-Based"),
        "tax": ("Tax", "One-Time"),
        "purchase": ("Purchase", "One-Time"),
        "support": ("Usage", "Recurring"),
        "fixed": ("Usage", "Recurring"),
        "credit": ("Credit", "One-Time"),
        "adjustment": ("Adjustment", "One-Time"),
    }
)


class Unit(NamedTuple):
    """What pieces of a class are called, and how many of them one consumed and priced unit has.

    All are powers of ten, so that a quantity is a finite decimal.
    """

    consumed: str
    consumed_digits: int
    priced: str
    priced_digits: int


_TOKENS = Unit("Tokens", 0, "1000000 Tokens", 6)
_SECONDS = Unit("Seconds", 3, "Seconds", 3)
UNITS: Mapping[str, Unit] = MappingProxyType(
    {
        **dict.fromkeys(GPU_TIME_CLASSES, Unit("GPU-Seconds", 3, "GPU-Seconds", 3)),
        GPU_ENERGY: Unit("Joules", 3, "Joules", 3),
        "cpu_core_ms": Unit("Core-Seconds", 3, "Core-Seconds", 3),
        "memory_mib_ms": Unit("MiB-Seconds", 3, "MiB-Seconds", 3),
        "storage_mib_ms": Unit("MiB-Seconds", 3, "MiB-Seconds", 3),
        "network_bytes": Unit("Bytes", 0, "GB", 9),
        "audio_ms": _SECONDS,
        "input_audio_ms": _SECONDS,
        "output_audio_ms": _SECONDS,
        "web_searches": Unit("Searches", 0, "Searches", 0),
        "social_searches": Unit("Searches", 0, "Searches", 0),
        "storage_searches": Unit("Searches", 0, "Searches", 0),
        "rerank_searches": Unit("Searches", 0, "Searches", 0),
        "code_executions": Unit("Executions", 0, "Executions", 0),
        "input_characters": Unit("Characters", 0, "Characters", 0),
        "input_messages": Unit("Messages", 0, "Messages", 0),
        "input_pixels": Unit("Pixels", 0, "Pixels", 0),
        "input_pages": Unit("Pages", 0, "Pages", 0),
        "annotated_pages": Unit("Pages", 0, "Pages", 0),
        "unmetered_calls": Unit("Requests", 0, "Requests", 0),
        "requests": Unit("Requests", 0, "Requests", 0),
    }
)
#: A day's charge whose quantity nobody knows is one day of the service.
DAYS = Unit("Days", 0, "Days", 0)


def unit_of(name: str) -> Unit:
    """The unit of a class of usage; whatever has none of its own is tokens."""
    return UNITS.get(name, _TOKENS)
