"""Which category a service of a cloud belongs to, from the names that its bill uses.

The families are the values of FOCUS's column ServiceCategory; the words are parts of the
service names and usage types in the price lists of AWS, Google Cloud and Azure.
"""

from __future__ import annotations

#: Looked for in "service usage", in this order; the first that is found decides.
_WORDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("support", ("support", "professional services", "training and certification")),
    (
        "llm_api",
        (
            "bedrock", "vertex ai", "gemini", "openai", "anthropic", "claude", "generative",
            "cognitive services", "ai foundry", "foundry models", "cohere", "mistral",
            "perplexity", "ai services",
        ),
    ),
    (
        "gpu_compute",
        (
            "gpu", "tpu", "nvidia", "a100", "h100", "h200", "b200", "trainium", "inferentia",
            "usage:p3", "usage:p4", "usage:p5", "usage:p6", "usage:g4", "usage:g5", "usage:g6",
            "usage:trn", "usage:inf", ":ml.p3", ":ml.p4", ":ml.p5", ":ml.p6", ":ml.g4", ":ml.g5",
            ":ml.g6", ":ml.trn", ":ml.inf", "standard_nc", "standard_nd", "standard_nv",
            "ncasv", "ndasr", "ndv2",
        ),
    ),
    (
        "network",
        (
            "datatransfer", "data transfer", "egress", "bandwidth", "cloudfront", "route 53",
            "load balanc", "natgateway", "nat gateway", "vpn", "express", "cdn", "dns",
            "virtual network", "networking", "virtual private cloud", "out-bytes", "in-bytes",
        ),
    ),
    (
        "storage",
        (
            "storage service", "ebs:", "snapshot", "elastic file", "glacier", "cloud storage",
            "filestore", "managed disk", "storage", "backup", " pd ", "disk",
        ),
    ),
    (
        "security_compliance",
        (
            "key management", "guardduty", "security", "waf", "inspector", "macie", "shield",
            "defender", "sentinel", "key vault", "secret manager", "secrets manager", "audit",
            "certificate", "cloudtrail", "aws config",
        ),
    ),
    (
        "data_processing",
        (
            "glue", "kinesis", "emr", "elastic mapreduce", "athena", "bigquery", "dataflow",
            "dataproc", "pub/sub", "data factory", "databricks", "synapse", "event hub",
            "lake formation", "stream analytics", "managed streaming",
        ),
    ),
    ("data_annotation", ("ground truth", "mechanical turk", "data labeling", "augmented ai")),
    ("software_license", ("marketplace", "license", "licence")),
    (
        "cpu_compute",
        (
            "elastic compute", "compute engine", "virtual machines", "lambda", "fargate",
            "cloud run", "cloud functions", "app service", "functions", "kubernetes",
            "container", "boxusage", "spotusage", "lightsail", "batch",
        ),
    ),
)  # fmt: skip

_FAMILIES = {
    "analytics": "data_processing",
    "compute": "cpu_compute",
    "networking": "network",
    "security": "security_compliance",
    "identity": "security_compliance",
    "storage": "storage",
}


def category_of(service: str, usage: str = "", family: str = "") -> str:
    """The category of a charge; `managed_services` when nothing says more.

    `service` is the provider's name of the service, `usage` its usage type, SKU or meter,
    `family` FOCUS's ServiceCategory where there is one. What names a GPU, a model or a
    transfer says more than the family that it is in.
    """
    said = f" {service} {usage} ".lower()
    for category, words in _WORDS:
        if any(word in said for word in words):
            return category
    return _FAMILIES.get(family.strip().lower(), "managed_services")
