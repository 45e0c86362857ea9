"""The dashboard "GPU efficiency and cost": whose GPUs they are, what idles, and what that costs."""

from __future__ import annotations

from typing import Any

from dashboards import colours, house, panels, queries
from dashboards import gpu_queries as ask
from dashboards.panels import At, Look, Query
from dashboards.selection import ANYTHING

UID = "costmeter-gpu-efficiency"
TITLE = "GPU efficiency and cost"
ABOUT = (
    "What every GPU costs, who has it, who uses it and who does not. Money is the nodes' own"
    " estimate, there at once; the ledger's exact figures are on LLM Cost Monitoring."
)
USD, RATIO = "currencyUSD", "percentunit"

PARTS = {
    "used": "semi-dark-green",
    "allocated, idle": "semi-dark-orange",
    "unallocated": colours.REST,
    "unobserved": "semi-dark-purple",
}
BANDS = dict(
    zip(
        (name for name, _, _ in ask.BANDS),
        (colours.REST, "dark-red", "semi-dark-orange", "semi-dark-yellow", "light-green", "green"),
        strict=True,
    )
)
#: LowGPUEfficiency stands at 30 %.
USE = ((None, colours.BAD), (0.3, colours.WARN), (0.6, colours.GOOD))
NONE_IS_GOOD = ((None, colours.GOOD), (1, colours.BAD))
HARDWARE = "The hardware has no tenant: tenant and namespace do not narrow it."
_NO_TROUBLE = {"none": {"color": panels.fixed(colours.REST)}}
_SHARE = {
    "unit": RATIO,
    "decimals": 0,
    "custom.cellOptions": {"type": "color-text"},
    "color": {"mode": "thresholds"},
    "thresholds": {
        "mode": "absolute",
        "steps": [{"value": value, "color": colour} for value, colour in USE],
    },
}  # fmt: skip

GLANCE = (
    panels.stat(
        "GPUs",
        At(0, 0, 4, 4),
        f"How many GPUs answer? A card cut by MIG is one. {HARDWARE}",
        Query(ask.gpus(), "GPUs", now=True),
        Look("none", 0, nothing="None", colour=colours.CALM),
        runbooks=("GPULost",),
    ),
    panels.stat(
        "Busy",
        At(4, 0, 4, 4),
        "Are the GPUs busy? Share of the last hour in which a kernel ran, allocated or not; cards"
        f" cut by MIG do not tell it. {HARDWARE}",
        Query(ask.busy(), "busy", now=True),
        Look(RATIO, 0, nothing="Not known", steps=USE),
        runbooks=("LowGPUEfficiency",),
    ),
    panels.stat(
        "Allocated",
        At(8, 0, 4, 4),
        f"How much of them does somebody hold now? {HARDWARE}",
        Query(ask.allocated(), "allocated", now=True),
        Look(RATIO, 0, nothing="Not known", colour=colours.CALM),
    ),
    panels.stat(
        "Cost per hour",
        At(12, 0, 4, 4),
        "What do the GPUs cost? USD of the last hour, used or not.",
        Query(ask.cost("1h"), "cost", now=True),
        Look(USD, 2, nothing="No price known", colour=colours.MONEY),
    ),
    panels.stat(
        "Idle money per hour",
        At(16, 0, 4, 4),
        "How much of it was for nothing? Allocated and idle, or allocated to nobody.",
        Query(ask.wasted("1h"), "idle", now=True),
        Look(USD, 2, nothing="No price known", colour="orange"),
        runbooks=("LowGPUEfficiency", "GPUIdleAllocated"),
    ),
    panels.stat(
        "Idle money per month",
        At(20, 0, 4, 4),
        "What does that come to in a month of 730 hours? At the pace of the last 24 hours.",
        Query(ask.wasted_a_month(), "idle", now=True),
        Look(USD, 0, nothing="No price known", colour="orange"),
        runbooks=("LowGPUEfficiency",),
    ),
)

MONEY = (
    panels.lines(
        "Cost of GPU time",
        At(0, 0, 16, 10),
        "Where does the money go? USD an hour: used, allocated and idle, allocated to nobody, and"
        " time in which nobody could look. The height is what all GPUs cost. The last two have no"
        " tenant and are shown under All alone.",
        [
            Query(ask.money("used"), "used"),
            Query(ask.money("idle"), "allocated, idle"),
            Query(ask.money("unallocated"), "unallocated"),
            Query(ask.money("unobserved"), "unobserved"),
        ],
        Look(USD, 2, minimum=0, nothing="No price known", lines=colours.by_name(PARTS)),
        stacked="normal",
        interval="1h",
        calcs=("mean", "lastNotNull"),
        runbooks=("LowGPUEfficiency",),
    ),
    panels.pie(
        "The last 24 hours",
        At(16, 0, 8, 10),
        "How is the cost of the last 24 hours divided? Used, idle, unallocated and unobserved.",
        [
            Query(ask.money("used", "1d"), "used", now=True),
            Query(ask.money("idle", "1d"), "allocated, idle", now=True),
            Query(ask.money("unallocated", "1d"), "unallocated", now=True),
            Query(ask.money("unobserved", "1d"), "unobserved", now=True),
        ],
        Look(USD, 2, nothing="No price known", lines=colours.by_name(PARTS)),
        legend_width=260,
    ),
)

USED = (
    panels.lines(
        "Utilisation",
        At(0, 0, 12, 8),
        "Does use grow with the bill? Hourly: the share of time in which a kernel ran, of all GPUs"
        " and by model; and the share that owners used of what they had, which alone obeys tenant"
        " and namespace.",
        [
            Query(ask.used(), "used of allocated"),
            Query(ask.busy(), "all GPUs"),
            Query(ask.busy("job, gpu_model"), "{{gpu_model}}"),
        ],
        Look(
            RATIO,
            0,
            minimum=0,
            maximum=1,
            nothing="Not known",
            lines=colours.by_name({"used of allocated": PARTS["used"], "all GPUs": "text"}),
            steps=((None, "transparent"), (0.3, colours.BAD)),
        ),
        interval="1h",
        limits=True,
        calcs=("mean",),
        placement="right",
        runbooks=("LowGPUEfficiency",),
    ),
    panels.lines(
        "How utilisation is spread",
        At(12, 0, 12, 8),
        "Is a GPU half busy, or busy half the time? Share of all samples, one a second, in each"
        f" band of utilisation. {HARDWARE}",
        [Query(ask.band(over, up_to), name) for name, over, up_to in ask.BANDS],
        Look(RATIO, 0, minimum=0, maximum=1, nothing="Not known", lines=colours.by_name(BANDS)),
        stacked="normal",
        interval="1h",
        calcs=("mean",),
        placement="right",
    ),
)

_ROWS = 10
WASTE = (
    panels.bars(
        "Idle money by tenant",
        At(0, 0, 8, 9),
        "Who wastes the most? USD of the last 24 hours for GPUs that a tenant had and did not use.",
        [Query(ask.idle_by_tenant(_ROWS), "{{tenant_id}}", now=True)],
        Look(USD, 2, minimum=0, nothing="Nothing was idle", colour="semi-dark-orange"),
        runbooks=("GPUIdleAllocated",),
    ),
    panels.table(
        "Idle money by pod",
        At(8, 0, 16, 9),
        "Which pods could give something back? The ten whose idle GPU time of the last 24 hours"
        " cost the most.",
        [
            Query(ask.idle_by_pod(_ROWS), now=True, table=True),
            Query(ask.idle_hours_by_pod(_ROWS), now=True, table=True),
            Query(ask.used_by_pod(_ROWS), now=True, table=True),
        ],
        Look(
            USD,
            2,
            nothing="-",
            lines={
                "Tenant": {"custom.width": 90},
                "Namespace": {"custom.width": 100},
                "Pod": {"custom.width": 150},
                "Node": {"custom.width": 120},
                "Idle GPU-hours": {"unit": "none", "decimals": 1, "custom.width": 120},
                "Idle money": {"custom.width": 100},
                "Used": {**_SHARE, "custom.width": 80},
            },
        ),
        [
            "tenant_id as Tenant",
            "namespace as Namespace",
            "pod as Pod",
            "node as Node",
            "gpu_model as GPU",
            "Value #A as Idle money",
            "Value #B as Idle GPU-hours",
            "Value #C as Used",
        ],
        sort="Idle money",
        runbooks=("GPUIdleAllocated",),
    ),
)


def _by(title: str, x: int, label: str, name: str) -> panels.Panel:
    def told(text: str) -> str:
        return ask.named_nobody(text) if label == "tenant_id" else text

    by = f"job, {label}"
    return panels.table(
        title,
        At(x, 0, 8, 7),
        f"What does each {name} cost, and what is idle of it? Cost and idle money of the last 24"
        " hours in USD, idle money with what nobody held; and the share that owners used of what"
        " they had.",
        [
            Query(told(ask.cost("1d", by)), now=True, table=True),
            Query(told(ask.wasted("1d", by)), now=True, table=True),
            Query(told(ask.used(by, "1d")), now=True, table=True),
        ],
        Look(
            USD,
            2,
            nothing="-",
            lines={
                "Cost": {"custom.width": 90},
                "Idle money": {"custom.width": 100},
                "Used": {**_SHARE, "custom.width": 80},
            },
        ),
        [
            f"{label} as {name.capitalize() if name != 'GPU model' else name}",
            "Value #A as Cost",
            "Value #B as Idle money",
            "Value #C as Used",
        ],
        sort="Cost",
    )


WHOSE = (
    _by("By tenant", 0, "tenant_id", "tenant"),
    _by("By node", 8, "node", "node"),
    _by("By model", 16, "gpu_model", "GPU model"),
)

_SERVERS = "The tokens are those that model servers on the nodes count."
TOKENS = (
    panels.lines(
        "Cost per million tokens",
        At(0, 0, 10, 9),
        "What does a token of our own models cost? USD of GPU time for a million input and output"
        " tokens of an hour: all of the time that the servers held their GPUs, and the part in"
        f" which a kernel ran. What lies between the two is idle. {_SERVERS}",
        [
            Query(ask.cost_per_million("allocation"), "{{model}}, allocation"),
            Query(ask.cost_per_million("usage"), "{{model}}, usage"),
        ],
        Look(USD, 2, minimum=0, nothing="No model server is read"),
        interval="10m",
        runbooks=("LowGPUEfficiency",),
    ),
    panels.lines(
        "Requests per GPU-hour",
        At(10, 0, 7, 9),
        "How much does a GPU serve? Requests for each GPU-hour that a model's servers held, the"
        f" mean of its servers. {_SERVERS}",
        [Query(ask.requests_per_gpu_hour(), "{{model}}")],
        Look("short", 1, minimum=0, nothing="No model server is read"),
        interval="10m",
    ),
    panels.lines(
        "Energy per token",
        At(17, 0, 7, 9),
        f"What does a token take? Joules for an input or output token of an hour. {_SERVERS}",
        [Query(ask.joules_per_token(), "{{model}}")],
        Look("joule", 2, minimum=0, nothing="No model server is read"),
        interval="10m",
    ),
)

ENERGY = (
    panels.lines(
        "Power",
        At(0, 0, 8, 9),
        "What do the GPUs draw? Watts by node. With a tenant chosen, those of GPUs that it holds"
        " alone.",
        [Query(ask.power(), "{{node}}")],
        Look("watt", 1, minimum=0, nothing="Not known"),
        stacked="normal",
        interval="10m",
    ),
    panels.lines(
        "Cost of energy",
        At(8, 0, 8, 9),
        "Whose energy costs what? USD an hour by tenant, with the overhead of the building. Idle"
        " GPUs that nobody holds draw power, too.",
        [Query(ask.energy_cost(), "{{tenant_id}}")],
        Look(
            USD, 3, minimum=0, nothing="No price of energy is configured",
            lines=colours.by_name({"nobody": colours.REST}),
        ),
        stacked="normal",
        interval="1h",
    ),
    panels.lines(
        "CO2",
        At(16, 0, 8, 9),
        "Whose work emits what? CO2 equivalent an hour by tenant, by the carbon intensity of the"
        " grid.",
        [Query(ask.co2(), "{{tenant_id}}")],
        Look(
            "massg", 1, minimum=0, nothing="No carbon intensity is configured",
            lines=colours.by_name({"nobody": colours.REST}),
        ),
        stacked="normal",
        interval="1h",
    ),
)  # fmt: skip

HEALTH = (
    panels.stat(
        "GPUs that do not answer",
        At(0, 0, 4, 7),
        "Did a GPU fail? Those that answered before and do not now. Only node narrows it.",
        Query(ask.not_answering(), "lost", now=True),
        Look("none", 0, nothing="Not known", steps=NONE_IS_GOOD),
        size=48,
        runbooks=("GPULost",),
    ),
    panels.lines(
        "Held back",
        At(4, 0, 10, 7),
        "Is a GPU slower than it could be? Share of 15 minutes in which heat, a power brake or the"
        " hardware itself held the clocks, of each node's worst GPU. The alert stands at 10 %."
        f" {HARDWARE}",
        [Query(ask.held_back(), "{{node}}: {{reason}}")],
        Look(
            RATIO,
            0,
            minimum=0,
            maximum=1,
            nothing="Not known",
            lines={"none: none": {"color": panels.fixed(colours.REST)}},
            steps=((None, "transparent"), (0.1, colours.WARN)),
        ),
        limits=True,
        calcs=("max", "lastNotNull"),
        interval="10m",
        runbooks=("GPUThrottled",),
    ),
    panels.lines(
        "Xid errors in a day",
        At(14, 0, 10, 7),
        "Did the driver report errors? Those of 24 hours by code; 48, 74, 79, 94, 95, 119 and 120"
        f" are failures of the GPU, most others the application's. {HARDWARE}",
        [Query(ask.xids(), "{{xid}}")],
        Look("short", 0, minimum=0, nothing="Not known", lines=_NO_TROUBLE),
        at_least=1,
        calcs=("max", "lastNotNull"),
        interval="1h",
        placement="right",
        runbooks=("GPUXidErrors",),
    ),
    panels.lines(
        "Temperature",
        At(0, 7, 8, 8),
        f"Is it hot? Temperature of each node's hottest GPU. {HARDWARE}",
        [Query(ask.hottest(), "{{node}}")],
        Look("celsius", 0, nothing="Not known"),
        interval="10m",
        calcs=("max", "lastNotNull"),
        runbooks=("GPUThrottled",),
    ),
    panels.lines(
        "Memory errors in a day",
        At(8, 7, 8, 8),
        "Does memory fail? ECC errors of 24 hours: corrected ones do no harm, uncorrected ones"
        f" end the work. {HARDWARE}",
        [
            Query(ask.ecc("corrected"), "corrected"),
            Query(ask.ecc("uncorrected"), "uncorrected"),
        ],
        Look(
            "short",
            0,
            minimum=0,
            nothing="No card tells them",
            lines=colours.by_name({"corrected": colours.REST, "uncorrected": "semi-dark-red"}),
        ),
        at_least=1,
        interval="1h",
        calcs=("max", "lastNotNull"),
        runbooks=("GPUXidErrors",),
    ),
    panels.lines(
        "Age of samples",
        At(16, 7, 8, 8),
        "Do the GPUs answer in time? Age of the newest complete sample of each node. Only node"
        " narrows it.",
        [Query(ask.sample_age(), "{{node}}")],
        Look("s", 1, minimum=0, nothing="No GPUs are sampled"),
        interval="10m",
        calcs=("max", "lastNotNull"),
    ),
    panels.lines(
        "GPU time that waits at agents",
        At(0, 15, 12, 7),
        "Does GPU time reach the server? Age of what waits longest, of every agent of the ledger;"
        " an agent's page has no label to narrow it by. The alert stands at six hours.",
        [Query(ask.spool_age(), "{{instance}}")],
        Look("s", 0, minimum=0, nothing="No agents"),
        interval="10m",
        calcs=("max", "lastNotNull"),
        runbooks=("AgentSpoolFilling",),
    ),
    panels.lines(
        "Spools of agents",
        At(12, 15, 12, 7),
        "Is there room to wait? Share of the spool that is full, of every agent; and segments that"
        " were lost in an hour, on the axis at the right.",
        [Query(ask.spool_fill(), "{{instance}}"), Query(ask.dropped(), "lost segments")],
        Look(
            RATIO,
            1,
            minimum=0,
            nothing="No agents",
            lines={
                "lost segments": {
                    "unit": "short",
                    "decimals": 0,
                    "color": panels.fixed("semi-dark-red"),
                    "custom.axisPlacement": "right",
                    "custom.axisSoftMax": 1,
                    "custom.axisLabel": "lost segments",
                }
            },
        ),
        at_least=0.1,
        interval="10m",
        calcs=("max", "lastNotNull"),
        runbooks=("AgentSpoolFilling",),
    ),
)


def build() -> dict[str, Any]:
    """The dashboard as JSON data."""
    return house.dashboard(
        UID,
        TITLE,
        ABOUT,
        {
            "At a glance": GLANCE,
            "Where the money goes": MONEY,
            "How much of it is used": USED,
            "Who wastes it": WASTE,
            "Whose it is": WHOSE,
            "What a token costs": TOKENS,
            "Power and energy": ENERGY,
            "Health": HEALTH,
        },
        [
            house.source_variable(),
            house.variable("ledger", "Ledger", queries.LEDGERS),
            house.variable("node", "Node", ask.NODES, ANYTHING),
            house.variable("gpu_model", "GPU model", ask.MODELS, ANYTHING),
            house.variable("tenant", "Tenant", ask.TENANTS, ANYTHING),
            house.variable("namespace", "Namespace", ask.NAMESPACES, ANYTHING),
        ],
        [
            house.dashboard_link(
                "LLM Cost Monitoring", "costmeter-llm-cost", "What everything costs, exactly"
            ),
            house.dashboard_link(
                "Exporter health", "costmeter-exporter-health", "Can these figures be trusted?"
            ),
            house.page_link("GPUs", f"{house.REPOSITORY}/docs/gpu.md", "What the figures mean"),
        ],
        start="now-7d",
        refresh="5m",
    )
