"""Examples for lists of the configuration; the reference and the default file show them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

BUDGETS = """\
- name: search-production
  limit_usd: 12000
  team: search
  environment: prod
  warning_percent: 75
  owner: Ada Lovelace
  contacts: ["#search-costs", ada@example.com]
- name: acme
  limit_usd: 499.99
  tenant_id: acme
  timezone: Europe/Berlin
"""

SCOPES = """\
- name: openai
  match: {provider: openai, account: "org-*"}
  detail_from: gateway
  amount_from: openai-costs
- name: aws/bedrock
  match: {provider: "aws*", service: "*Bedrock*"}
  amount_from: aws-costs
- name: aws/rest
  match: {provider: aws}
  detail_from: none
  amount_from: aws-costs
- name: rest
"""

SOURCES = """\
- name: openai-bill
  kind: openai
  key_file: secrets/openai-admin-key
  account: org-acme
  owners:
    - {project: "proj_search*", tenant_id: acme, team: search}
- name: claude
  kind: anthropic
  key_variable: ANTHROPIC_ADMIN_KEY
  every_seconds: 1800
  options: [api=analytics]
"""

PERSONNEL = """\
- name: platform-team
  role: engineering
  salary: 120000
  headcount: 3
  allocation_percent: 40
  start: 2026-01-01
  team: platform
- name: on-call
  role: operations
  hours_per_month: 20
"""

CATEGORY_THRESHOLDS = """\
- category: gpu_compute
  warning_usd: 8000
  critical_usd: 10000
"""

FIXED_ITEMS = """\
- name: tracing
  kind: software_license
  amount: 4900
  per: year
  start: 2026-03-15
  provider: tracing-vendor
- name: gpu-server
  kind: support_contract
  amount: 36000
  per: once
  months: 36
  start: 2026-07-01
"""

COMPUTE = """\
- name: inference
  provider: aws
  region: us-east-1
  instance_type: p4d.24xlarge
  gpu: A100-40GB
  count: 8
  purchase: reserved
- name: gateways
  provider: hetzner
  instance_type: ccx33
  count: 3
  price_per_hour: 0.11
  tenant_id: acme
"""

STORAGE = """\
- name: vectors
  provider: aws
  kind: gp3
  gb: 500
  price_per_gb_month: 0.08
  iops: 3000
  price_per_iops_month: 0.005
"""

NETWORK = """\
- name: answers
  provider: aws
  transfer: internet_egress
  gb_per_month: 900
  price_per_gb: 0.09
"""

SERVICES = """\
- name: vector-database
  provider: qdrant
  amount: 95
"""

RATES = """\
- {date: 2026-11-02, currency: EUR, rate: 1.0843}
- {date: 2026-11-03, currency: EUR, rate: 1.0871}
"""

CONTRACTS = """\
- name: openai-2026
  provider: openai
  model: "gpt-4o*"
  from: 2026-07-01
  until: 2027-07-01
  reference: order 4711
  discount_percent: 10
  usd_per_million: {input: 2.00, output: 8.00}
- name: anthropic
  provider: anthropic
  account: org-acme
  from: 2026-01-01
  discount_percent: 12.5
  commitment: {usd: 9000, covers_usd: 10000}
"""

TOKENS = """\
- name: gateway
  sha256: HASH
- name: acme-app
  sha256: HASH
  tenant_id: acme
  permissions: [write, read]
"""

SERVING = """\
- url: http://127.0.0.1:8000/metrics
  model: llama-3.3-70b
  container: docker:vllm-*
"""

SERVED_MODELS = """\
- model: llama-3.3-70b
  provider: vllm
  project: chat
  purpose: inference
"""

WEB = """\
tls_server_config:
  cert_file: server.crt
  key_file: server.key
basic_auth_users:
  prometheus: $2y$10$...
"""

#: By the dotted key of the list that they belong to.
BY_KEY: Mapping[str, str] = MappingProxyType(
    {
        "budgets.items": BUDGETS,
        "budgets.categories": CATEGORY_THRESHOLDS,
        "scopes": SCOPES,
        "sources": SOURCES,
        "contracts": CONTRACTS,
        "fixed_costs.personnel": PERSONNEL,
        "fixed_costs.items": FIXED_ITEMS,
        "gpu.serving": SERVING,
        "serving": SERVED_MODELS,
        "inventory.compute": COMPUTE,
        "inventory.storage": STORAGE,
        "inventory.network": NETWORK,
        "inventory.services": SERVICES,
        "currencies.rates": RATES,
    }
)
