"""The house style by itself, on dashboards made up here."""

from typing import Any

from dashboards import house, panels

USD = panels.Look("currencyUSD", 2)
CORNER = panels.At(0, 0, 6, 4)


def page(*some: panels.Panel, **rows: list[panels.Panel]) -> dict[str, Any]:
    return house.dashboard(
        "costmeter-test", "Test", "About.", rows or {"Row": list(some)},
        [
            house.source_variable(),
            house.variable("tenant", "Tenant", "label_values(up, job)", "()"),
        ],
        [], start="now-1h", refresh="1m",
    )  # fmt: skip


def figure(title: str, at: panels.At = CORNER) -> panels.Panel:
    return panels.stat(title, at, "What?", panels.Query("up", "up", now=True), USD)


def made(panel: panels.Panel) -> dict[str, Any]:
    found: dict[str, Any] = page(panel)["panels"][1]
    return found


def test_rows_follow_each_other() -> None:
    data = page(First=[figure("a"), figure("b", panels.At(6, 2, 6, 5))], Second=[figure("c")])
    places = {panel["title"]: panel["gridPos"]["y"] for panel in data["panels"]}
    assert places == {"First": 0, "a": 1, "b": 3, "Second": 8, "c": 9}


def test_queries_are_lettered_and_asked_once_or_over_time() -> None:
    queries = [panels.Query("up", "now", now=True), panels.Query("up", "then")]
    panel = made(panels.bars("Bars", CORNER, "What?", queries, USD))
    assert [
        (target["refId"], target["instant"], target["range"]) for target in panel["targets"]
    ] == [("A", True, False), ("B", False, True)]


def test_a_figure_without_thresholds_has_one_colour() -> None:
    plain = made(figure("plain"))["fieldConfig"]["defaults"]
    assert plain["color"] == {"mode": "fixed", "fixedColor": "text"}
    steps = ((None, "green"), (10.0, "red"))
    look = panels.Look("none", steps=steps)
    limited = made(panels.stat("limited", CORNER, "What?", panels.Query("up"), look))
    defaults = limited["fieldConfig"]["defaults"]
    assert defaults["color"] == {"mode": "thresholds"}
    assert defaults["thresholds"]["steps"] == [
        {"value": None, "color": "green"},
        {"value": 10.0, "color": "red"},
    ]


def test_a_table_shows_its_columns_and_no_others() -> None:
    queries = [panels.Query("up", now=True, table=True)]
    columns = ["job as Job", "Value #A as Up"]
    panel = made(panels.table("T", CORNER, "What?", queries, USD, columns, sort="Up"))
    kept, named = (step["options"] for step in panel["transformations"][1:])
    assert kept["include"]["names"] == ["job", "Value #A"]
    assert named["indexByName"] == {"job": 0, "Value #A": 1}
    assert named["renameByName"] == {"job": "Job", "Value #A": "Up"}
    assert panel["options"]["sortBy"] == [{"displayName": "Up", "desc": True}]


def test_a_name_between_slashes_is_a_pattern() -> None:
    look = panels.Look("none", lines={"/^a/": {"color": panels.fixed("red")}, "b": {"unit": "s"}})
    panel = made(panels.lines("L", CORNER, "What?", [panels.Query("up", "a")], look))
    matchers = [entry["matcher"] for entry in panel["fieldConfig"]["overrides"]]
    assert matchers == [
        {"id": "byRegexp", "options": "/^a/"},
        {"id": "byName", "options": "b"},
    ]


def test_a_variable_of_many_values_starts_with_all_of_them() -> None:
    source, tenant = page(figure("a"))["templating"]["list"]
    assert source["type"] == "datasource"
    assert source["current"] == {}
    assert tenant["current"]["value"] == ["$__all"]
    assert "useTags" not in tenant


def test_a_variable_of_one_value_may_say_which_comes_first() -> None:
    def current(first: str) -> Any:
        made = house.variable("dimension", "Dimension", "label_values(up, job)", first=first)
        data = house.dashboard(
            "costmeter-test", "Test", "About.", {"Row": [figure("a")]}, [made], [],
            start="now-1h", refresh="1m",
        )  # fmt: skip
        return data["templating"]["list"][0]["current"]

    assert current("ledger") == {"selected": True, "text": "ledger", "value": "ledger"}
    assert current("") == {}
