"""Panels of "LLM Cost Monitoring" about how well money is spent, and whether all of it is known."""

from __future__ import annotations

from dashboards import colours, panels, queries
from dashboards.panels import At, Look, Panel, Query
from dashboards.spend_panels import RATIO, USD


def efficiency() -> tuple[Panel, ...]:
    """What calls, tokens and GPUs give for the money."""
    return (
        panels.lines(
            "Cost per request by provider",
            At(0, 0, 12, 8),
            "Do calls become dearer? API spend over calls, by provider; a provider without both is"
            " not shown.",
            [Query(queries.cost_per_call(), "{{provider}}")],
            Look(
                USD,
                4,
                minimum=0,
                nothing="No calls in this time range",
                lines=colours.by_name(colours.PROVIDERS),
            ),
            placement="right",
            interval="1h",
            runbooks=("HighCostPerRequest",),
        ),
        panels.bars(
            "Cost per million tokens by model",
            At(12, 0, 12, 8),
            "Which models are dear for what they do? API spend of the last 24 hours over all tokens"
            " of these calls, cached ones too. Dear models and long answers stand out.",
            [Query(queries.cost_per_million_tokens(10), "{{provider}} / {{model}}", now=True)],
            Look(
                USD,
                2,
                minimum=0,
                nothing="No priced tokens in 24 hours",
                lines=colours.by_provider(),
            ),
        ),
        panels.lines(
            "Token mix",
            At(0, 8, 8, 8),
            "What are the tokens? Tokens an hour by class; the classes are disjoint, so the height"
            " is all of them.",
            [Query(queries.token_mix(), "{{token_class}}")],
            Look(
                "short",
                1,
                minimum=0,
                nothing="No tokens in this time range",
                lines=colours.by_name(colours.TOKEN_CLASSES),
            ),
            calcs=(),
            stacked="normal",
            interval="1h",
        ),
        panels.lines(
            "Prompt tokens served from cache",
            At(8, 8, 8, 8),
            "Does prompt caching work? Tokens read from a cache over all prompt tokens, by"
            " provider. Cached tokens are the cheap ones; a line that falls makes calls dearer.",
            [Query(queries.cache_share(), "{{provider}}")],
            Look(
                RATIO,
                1,
                minimum=0,
                maximum=1,
                nothing="No cached tokens in this time range",
                lines=colours.by_name(colours.PROVIDERS),
            ),
            calcs=(),
            interval="1h",
        ),
        panels.lines(
            "Saved by caching",
            At(16, 8, 8, 8),
            "What is caching worth? USD an hour: tokens read from a cache, times what they would"
            " have cost more as plain input, at the list prices in force (the same for every tenant"
            " and environment). What writing into a cache cost extra is not taken off.",
            [Query(queries.cache_savings(), "{{provider}}")],
            Look(
                USD,
                2,
                minimum=0,
                nothing="No cached tokens in this time range",
                lines=colours.by_name(colours.PROVIDERS),
            ),
            calcs=("mean", "lastNotNull"),
            stacked="normal",
            interval="1h",
        ),
        panels.lines(
            "GPU utilisation and requests per GPU-hour",
            At(0, 16, 24, 7),
            "Are the GPUs busy, and with what? Left: average utilisation of the GPUs that answer;"
            " they have no tenant, model or environment. Right: chosen calls for each hour of such"
            " a GPU; choose the models that run on your GPUs in `model` to see theirs alone.",
            [
                Query(queries.gpu_utilization(), "utilisation"),
                Query(queries.calls_per_gpu_hour(), "requests per GPU-hour"),
            ],
            Look(
                "percent",
                1,
                minimum=0,
                nothing="No GPUs",
                lines={
                    "utilisation": {
                        "color": panels.fixed(colours.CATEGORIES["gpu_compute"]),
                        "max": 100,
                        "custom.axisLabel": "utilisation",
                    },
                    "requests per GPU-hour": {
                        "unit": "short",
                        "color": panels.fixed("semi-dark-orange"),
                        "custom.axisPlacement": "right",
                        "custom.fillOpacity": 0,
                        "custom.axisLabel": "requests per GPU-hour",
                    },
                },
            ),
            calcs=(),
            interval="1h",
            runbooks=("LowGPUEfficiency", "GPUIdleAllocated", "GPULost"),
        ),
    )


def quality() -> tuple[Panel, ...]:
    """What is missing from the figures."""
    return (
        panels.lines(
            "Calls without a price",
            At(0, 0, 8, 7),
            "Which models lack a price? Calls that cost nothing yet because no price is known, of"
            " every tenant and environment; only `model` narrows them. They are priced as soon as a"
            " price exists.",
            [
                Query(queries.unpriced_by_model(5), "{{provider}} / {{model}}"),
                Query(queries.unpriced_now(), "all"),
            ],
            Look(
                "short",
                0,
                minimum=0,
                nothing="Not known",
                lines=colours.by_name({"all": colours.REST}),
            ),
            at_least=1,
            calcs=("lastNotNull",),
            runbooks=("UnpricedUsage",),
        ),
        panels.lines(
            "Spend without a tenant's name",
            At(8, 0, 8, 7),
            "How much of the month cannot be put to a tenant here? `unattributed` has no owner;"
            " `_other` belongs to tenants past the limit of series, which the ledger itself knows.",
            [Query(queries.shares_of_no_tenant(), "{{tenant_id}}")],
            Look(
                RATIO,
                1,
                minimum=0,
                nothing="No spend",
                lines=colours.by_name(
                    {
                        "unattributed": "semi-dark-orange",
                        "_other": "semi-dark-purple",
                        "none": colours.REST,
                    }
                ),
            ),
            at_least=0.05,
            interval="1h",
            calcs=("lastNotNull",),
            runbooks=("SeriesOverflow",),
        ),
        panels.lines(
            "Calls that failed",
            At(16, 0, 8, 7),
            "Do calls fail? Share of calls that ended in an error or were aborted. Many providers"
            " charge for aborted ones.",
            [Query(queries.failed_calls(), "{{status}}")],
            Look(
                RATIO,
                1,
                minimum=0,
                nothing="No call failed",
                lines=colours.by_name(colours.STATUSES),
            ),
            interval="1h",
            at_least=0.01,
        ),
    )
