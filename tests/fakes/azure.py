"""Azure on a loopback port: tokens, the resource manager's lists, metrics and cost queries."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, unquote

from fakes.reports import BadRequest, Query, Reports, one

SUBSCRIPTION = "0a1b2c3d-0000-4000-8000-000000000001"
DIRECTORY = "9f8e7d6c-0000-4000-8000-000000000002"
CLIENT = "5d5d5d5d-0000-4000-8000-000000000003"
_TYPE = "Microsoft.CognitiveServices/accounts"
_HOUR, _DAY = 3_600, 86_400
_CLASSIC = {"ModelDeploymentName", "Region", "ModelVersion", "ApiName", "ServiceTierResponse"}
_DIMENSIONS = {
    "ProcessedPromptTokens": _CLASSIC,
    "GeneratedTokens": _CLASSIC,
    "AzureOpenAIRequests": _CLASSIC | {"ModelName", "StatusCode"},
    **{
        name: {"ModelDeploymentName", "ModelName", "ModelVersion", "Region", "ApiName"}
        for name in (
            "InputTokens", "OutputTokens", "ModelRequests", "cacheReadInputTokens",
            "ephemeral5mInputTokens", "ephemeral1hInputTokens",
        )
    },
}  # fmt: skip


class Azure(Reports):
    """Its tokens are numbered: `token-1`, `token-2` ... and live for `lives_seconds`."""

    key = "a-client-secret-0123456789"
    lives_seconds = 3_599

    def __init__(self) -> None:
        super().__init__()
        self.tokens = 0
        self.withdrawn: set[str] = set()
        self.forms: list[dict[str, list[str]]] = []

    def allowed(self, headers: Mapping[str, str]) -> bool:
        said = headers.get("authorization", "")
        if not said:
            return True  # checked by the route
        token = said.removeprefix("Bearer ")
        return token == f"token-{self.tokens}" and token not in self.withdrawn

    def _authorised(self) -> None:
        if "authorization" not in self.asked[-1].headers:
            raise BadRequest("AuthenticationFailed: no token")

    def _token(self) -> Any:
        self.tokens += 1
        return {
            "token_type": "Bearer",
            "expires_in": self.lives_seconds,
            "ext_expires_in": self.lives_seconds,
            "access_token": f"token-{self.tokens}",
        }

    def route(self, path: str, query: Query) -> Any:
        path = unquote(path)
        if path == "/metadata/identity/oauth2/token":
            if self.asked[-1].headers.get("metadata") != "true":
                raise BadRequest("Required metadata header not specified")
            found = self._token()
            return {**found, "expires_in": str(found["expires_in"]), "resource": query["resource"]}
        if path == "/msi/token":
            if self.asked[-1].headers.get("x-identity-header") != self.key:
                raise BadRequest("no identity header")
            found = self._token()
            return {"access_token": found["access_token"], "expires_on": "4102444800"}
        self._authorised()
        return self.listed(path, query)

    def listed(self, path: str, query: Query) -> Any:
        raise BadRequest(f"no resource at {path}")

    def posted(self, path: str, query: Query, body: bytes) -> Any:
        path = unquote(path)
        if path == f"/{DIRECTORY}/oauth2/v2.0/token":
            form = parse_qs(body.decode())
            self.forms.append(form)
            proof = form.get("client_secret", form.get("client_assertion", [""]))[0]
            if proof != self.key or form["client_id"] != [CLIENT]:
                raise BadRequest(f"AADSTS7000215: Invalid client secret provided: {proof}")
            return self._token()
        self._authorised()
        return self.questioned(path, query, json.loads(body))

    def questioned(self, path: str, query: Query, body: Any) -> Any:
        raise BadRequest(f"no query at {path}")


@dataclass
class Account:
    """`held` has (metric, second, dimensions, total or None)."""

    name: str = "acme-openai"
    kind: str = "OpenAI"
    subscription: str = SUBSCRIPTION
    location: str = "swedencentral"
    deployments: list[tuple[str, str, str]] = field(default_factory=list)
    held: list[tuple[str, int, Mapping[str, str], float | None]] = field(default_factory=list)

    @property
    def id(self) -> str:
        return f"/subscriptions/{self.subscription}/resourceGroups/AI/providers/{_TYPE}/{self.name}"

    def calls(
        self, at: int, deployment: str, model: str, prompt: int, output: int, requests: int = 1,
        **more: str,
    ) -> None:  # fmt: skip
        said = {"ModelDeploymentName": deployment, "Region": "Sweden Central", **more}
        self.held.append(("ProcessedPromptTokens", at, said, prompt))
        self.held.append(("GeneratedTokens", at, said, output))
        whole = {"StatusCode": "200", **said, "ModelName": model}
        self.held.append(("AzureOpenAIRequests", at, whole, requests))


class AzureMonitor(Azure):
    """Accounts with their deployments and metrics; lists come in pages of `page_size`."""

    def __init__(self) -> None:
        super().__init__()
        self.accounts: list[Account] = []
        self.page_size = 2
        self.empty_points = True

    def listed(self, path: str, query: Query) -> Any:
        for account in self.accounts:
            if path == f"{account.id}/deployments":
                return self._page(path, query, [_deployment(*one) for one in account.deployments])
            if path == f"{account.id}/providers/Microsoft.Insights/metrics":
                return self._metrics(account, query)
        subscription = path.removeprefix("/subscriptions/").removesuffix(f"/providers/{_TYPE}")
        if "/" in subscription:
            raise BadRequest(f"no resource at {path}")
        found = [account for account in self.accounts if account.subscription == subscription]
        return self._page(path, query, [_account(account) for account in found])

    def _page(self, path: str, query: Query, found: list[Any]) -> Any:
        first = int(one(query, "$skiptoken", "0"))
        end = first + self.page_size
        version = one(query, "api-version")
        if not version:
            raise BadRequest("MissingApiVersionParameter")
        link = f"{self.url}{path}?api-version={version}&$skiptoken={end}"
        return {"value": found[first:end], **({"nextLink": link} if end < len(found) else {})}

    def _metrics(self, account: Account, query: Query) -> Any:
        if one(query, "metricnamespace").lower() != _TYPE.lower():
            raise BadRequest("no such namespace")
        if one(query, "interval") != "PT1H" or one(query, "aggregation") != "Total":
            raise BadRequest("not what is asked for here")
        since, until = (_second(part) for part in one(query, "timespan").split("/"))
        names = one(query, "metricnames").split(",")
        clauses = [clause.split(" eq ") for clause in one(query, "$filter").split(" and ")]
        wanted = {name: value.strip("'") for name, value in clauses}
        for name in names:
            lacks = set(wanted) - _DIMENSIONS.get(name, set())
            if lacks:
                raise BadRequest(f"Metric {name} does not support dimensions {sorted(lacks)}")
        splits = [name for name, value in wanted.items() if value == "*"]
        top = int(one(query, "top", "10"))
        return {
            "cost": 0, "timespan": one(query, "timespan"), "interval": "PT1H",
            "namespace": _TYPE, "resourceregion": account.location,
            "value": [
                {
                    "id": f"{account.id}/providers/Microsoft.Insights/metrics/{name}",
                    "type": "Microsoft.Insights/metrics", "unit": "Count",
                    "name": {"value": name, "localizedValue": name}, "errorCode": "Success",
                    "timeseries": self._series(account, name, wanted, splits, since, until)[:top],
                }
                for name in names
            ],
        }  # fmt: skip

    def _series(
        self, account: Account, name: str, wanted: Mapping[str, str], splits: list[str],
        since: int, until: int,
    ) -> list[Any]:  # fmt: skip
        sums: dict[tuple[str, ...], dict[int, float | None]] = {}
        for metric, at, said, total in account.held:
            fits = all(value in ("*", said.get(key, "")) for key, value in wanted.items())
            if metric == name and since <= at < until and fits:
                points = sums.setdefault(tuple(said.get(key, "") for key in splits), {})
                hour = at - at % _HOUR
                points[hour] = total if total is None else (points.get(hour) or 0) + total
        return [
            {
                "metadatavalues": [
                    {"name": {"value": key.lower(), "localizedValue": key}, "value": value}
                    for key, value in zip(splits, values, strict=True)
                ],
                "data": [
                    {"timeStamp": _said(at), **({"total": float(t)} if t is not None else {})}
                    for at in range(since, until, _HOUR)
                    if (t := points.get(at)) is not None or self.empty_points
                ],
            }
            for values, points in sums.items()
        ]


@dataclass(frozen=True)
class Charge:
    """One row of the details behind a bill; amounts as text, exactly."""

    day: str
    actual: str
    amortized: str | None = None
    service: str = "Virtual Machines"
    group: str = "web"
    charge: str = "Usage"
    subcategory: str = "Dv5 Series"
    meter: str = "D4 v5"
    currency: str = "EUR"
    tags: Mapping[str, str] = field(default_factory=dict)
    location: str = "EU West"
    subscription: str = SUBSCRIPTION


class AzureCosts(Azure):
    """Charges by scope; a page has `page_size` rows."""

    def __init__(self) -> None:
        super().__init__()
        self.charges: dict[str, list[Charge]] = {}
        self.page_size = 3
        self.date_as_text = False
        self.questions: list[Any] = []

    def questioned(self, path: str, query: Query, body: Any) -> Any:
        self.questions.append(body)
        scope = path.removesuffix("/providers/Microsoft.CostManagement/query")
        if scope == path or one(query, "api-version") != "2025-03-01":
            raise BadRequest("no query there")
        dataset = body["dataset"]
        groups = [(group["type"], group["name"]) for group in dataset.get("grouping", [])]
        if body["timeframe"] != "Custom" or len(groups) > 2 or dataset["granularity"] != "Daily":
            raise BadRequest("InvalidQuery")
        asked = body["timePeriod"]
        held = [
            charge
            for charge in self.charges.get(scope, [])
            if asked["from"][:10] <= charge.day <= asked["to"][:10]
            and all(_fits(charge, f) for f in _filters(dataset.get("filter")))
        ]
        sums: dict[tuple[Any, ...], Decimal] = {}
        for charge in held:
            amount = charge.actual
            if body["type"] == "AmortizedCost":
                amount = charge.actual if charge.amortized is None else charge.amortized
            key = (charge.day, *(v for g in groups for v in _values(charge, g)), charge.currency)
            sums[key] = sums.get(key, Decimal(0)) + Decimal(amount)
        if not sums:
            return None
        return self._page(path, query, groups, sorted(sums.items(), key=str))

    def _page(self, path: str, query: Query, groups: Any, sums: list[Any]) -> Any:
        first = int(one(query, "$skiptoken", "A0")[1:])
        end = first + self.page_size
        link = f"{self.url}{path}?api-version=2025-03-01&$skiptoken=A{end}"
        names = [n for kind, name in groups for n in _columns(kind, name)]
        columns = [("Cost", "Number"), ("UsageDate", "Number"), *((n, "String") for n in names)]
        return {
            "id": "a-query", "name": "a-query", "type": "Microsoft.CostManagement/query",
            "properties": {
                "nextLink": link if end < len(sums) else None,
                "columns": [{"name": n, "type": t} for n, t in [*columns, ("Currency", "String")]],
                "rows": [
                    [f"number {amount}", self._date(day), *values]
                    for (day, *values), amount in sums[first:end]
                ],
            },
        }  # fmt: skip

    def encode(self, value: Any) -> bytes:
        # Digit by digit, as no float would write it.
        return re.sub(rb'"number ([^"]+)"', rb"\1", super().encode(value))

    def _date(self, day: str) -> Any:
        return f"{day}T00:00:00" if self.date_as_text else int(day.replace("-", ""))


def _columns(kind: str, name: str) -> list[str]:
    return ["TagKey", "TagValue"] if kind == "TagKey" else [name]


def _values(charge: Charge, group: tuple[str, str]) -> list[str | None]:
    kind, name = group
    if kind == "TagKey":
        return [name, charge.tags.get(name)]
    return [
        {
            "ServiceName": charge.service, "ResourceGroupName": charge.group,
            "ChargeType": charge.charge, "MeterSubCategory": charge.subcategory,
            "Meter": charge.meter, "ResourceLocation": charge.location,
            "SubscriptionId": charge.subscription,
        }[name]
    ]  # fmt: skip


def _filters(said: Any) -> list[Any]:
    return [] if said is None else [part["dimensions"] for part in said.get("and", [said])]


def _fits(charge: Charge, wanted: Any) -> bool:
    return _values(charge, ("Dimension", wanted["name"]))[0] in wanted["values"]


def _account(account: Account) -> Any:
    return {
        "id": account.id, "name": account.name, "type": _TYPE, "kind": account.kind,
        "location": account.location, "sku": {"name": "S0"}, "properties": {},
    }  # fmt: skip


def _deployment(name: str, model: str, sku: str) -> Any:
    return {
        "name": name,
        "sku": {"name": sku, "capacity": 10},
        "properties": {"model": {"format": "OpenAI", "name": model, "version": "2024-11-20"}},
    }


def _second(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def _said(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
