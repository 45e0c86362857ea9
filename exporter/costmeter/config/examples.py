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
- name: rest
"""

TOKENS = """\
- name: gateway
  sha256: HASH
- name: acme-app
  sha256: HASH
  tenant_id: acme
  permissions: [write, read]
"""

WEB = """\
tls_server_config:
  cert_file: server.crt
  key_file: server.key
basic_auth_users:
  prometheus: $2y$10$...
"""

#: By the dotted key of the list that they belong to.
BY_KEY: Mapping[str, str] = MappingProxyType({"budgets.items": BUDGETS, "scopes": SCOPES})
