"""AWS Cost Explorer: what AWS charges by day, by service and one more key.

Shapes: `GetCostAndUsage` and `GetCostForecast` as boto3 1.44 has them. A request groups by
two keys and each page of its answer costs 0.01 USD, so a poll makes two: consumption by
service and the chosen key, and everything else by record type and service.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from costmeter.model import MS_PER_DAY, Labels
from costmeter.sources.aws_bill import METRICS, USAGE_RECORDS, Bill, charge_of
from costmeter.sources.aws_client import Aws, Call, region_of
from costmeter.sources.aws_forecast import NANO_PER_REQUEST, Forecasts
from costmeter.sources.aws_regions import region_of_usage
from costmeter.sources.buckets import through_today
from costmeter.sources.categories import category_of
from costmeter.sources.contract import Desk, Page, Rhythm, Settings, SourceError, Window
from costmeter.sources.options import Options
from costmeter.sources.owners import Owners, line_name
from costmeter.sources.pages import MOST_PAGES
from costmeter.sources.reading import Row, clean, date_of, group, instant_ms, malformed, rows
from costmeter.sources.tags import tag_keys

#: A month is open until its invoice, about a week after its end; often enough it is two.
RHYTHM = Rhythm(every_seconds=43_200, restated_days=45, lookback_days=59, step_days=60)
FINAL_AFTER_DAYS = 3
#: What every poll reads; the rest of what is open is read once a day.
_RECENT_DAYS = 4
#: How far back Cost Explorer knows days.
_DAYS_BACK = 395
_WEEK_MS = 7 * MS_PER_DAY
_BY_RECORD = {"Type": "DIMENSION", "Key": "RECORD_TYPE"}
_BY_SERVICE = {"Type": "DIMENSION", "Key": "SERVICE"}
_USAGE = {"Dimensions": {"Key": "RECORD_TYPE", "Values": list(USAGE_RECORDS)}}
_GROUPS = {"usage_type": "USAGE_TYPE", "account": "LINKED_ACCOUNT"}


class _Report(NamedTuple):
    """One request: what it asks for beside the time, and what its second key is."""

    arguments: Row
    second: str


class CostExplorer:
    def __init__(self, settings: Settings) -> None:
        """Raises ValueError for settings that do not go together."""
        options = Options(settings.options)
        self.name = settings.name
        self.rhythm = settings.rhythm or RHYTHM
        self._aws = Aws(settings, options)
        self._region = region_of(options.word("region", "us-east-1"))
        self._costs = Call(
            "ce", self._region, "get_cost_and_usage", "ResultsByTime", NANO_PER_REQUEST
        )
        self._tags = tag_keys(options)
        self._reports = self._plan(options)
        self._final_after_days = options.whole("final_after_days", FINAL_AFTER_DAYS)
        asks = options.switch("forecast", default=True)
        self._forecasts = Forecasts(settings.name) if asks else None
        options.finish("aws_cost_explorer")
        self._owners = Owners(settings, "aws", nobody="")
        #: What does not have to be asked again: what is invoiced, and what today has read.
        self._closed_ms = 0
        self._read_day = -1

    def _plan(self, options: Options) -> tuple[_Report, ...]:
        asked = self._tags.asked
        chosen = options.word(
            "group", "tag" if asked else "usage_type", ("usage_type", "account", "tag", "none")
        )
        if len(asked) > 1:
            raise ValueError(
                f"Cost Explorer groups by one tag; write {asked[0]} for each label, or read a "
                "data export, which has all tags"
            )
        if bool(asked) != (chosen == "tag"):
            raise ValueError(
                f"option group={chosen} leaves no key for the tag; write group=tag, or no tag"
                if asked
                else "option group=tag needs one of tenant_tag, team_tag and so on beside it"
            )
        by_record = [_BY_RECORD, _BY_SERVICE]
        if chosen == "none":
            return (_Report({"GroupBy": by_record}, "record"),)
        key = (
            {"Type": "TAG", "Key": asked[0]}
            if asked
            else {"Type": "DIMENSION", "Key": _GROUPS[chosen]}
        )
        return (
            _Report({"GroupBy": [_BY_SERVICE, key], "Filter": _USAGE}, chosen),
            _Report({"GroupBy": by_record, "Filter": {"Not": _USAGE}}, "record"),
        )

    def fetch(self, window: Window, desk: Desk) -> Iterator[Page]:
        until_ms = through_today(window)
        since_ms = self._since(window)
        if since_ms < until_ms:
            bill = Bill(window.now_ms, self._final_after_days)
            for report in self._reports:
                self._read(report, bill, since_ms, until_ms, desk)
            # A week at a time, so that no transaction is long.
            for begin_ms in range(since_ms, until_ms, _WEEK_MS):
                end_ms = min(begin_ms + _WEEK_MS, until_ms)
                days = range(begin_ms // MS_PER_DAY, end_ms // MS_PER_DAY)
                lines = tuple(line for day in days for line in bill.lines(day))
                yield Page("costs", begin_ms, end_ms, (), lines)
            # Whoever asks for more has kept what came before the newest page: with this
            # one, which says nothing, that is everything.
            yield Page("costs", until_ms, until_ms)
            self._remember(bill, window, since_ms, until_ms)
        if self._forecasts is not None and until_ms > window.now_ms:
            forecast = self._forecasts.ask(self._aws, desk, self._region, window.now_ms)
            if forecast is not None:
                yield Page("forecast", window.since_ms, window.since_ms, forecast=forecast)

    def _since(self, window: Window) -> int:
        today = window.now_ms // MS_PER_DAY
        since_ms = max(window.since_ms, self._closed_ms, (today - _DAYS_BACK) * MS_PER_DAY)
        if self._read_day == today:
            since_ms = max(since_ms, (today - _RECENT_DAYS) * MS_PER_DAY)
        return since_ms

    def _remember(self, bill: Bill, window: Window, since_ms: int, until_ms: int) -> None:
        day = since_ms // MS_PER_DAY
        if self._closed_ms == 0 or since_ms <= self._closed_ms:
            while bill.closed(day):
                day += 1
            self._closed_ms = max(self._closed_ms, day * MS_PER_DAY)
        if until_ms > window.now_ms:
            self._read_day = window.now_ms // MS_PER_DAY

    def _read(self, report: _Report, bill: Bill, since_ms: int, until_ms: int, desk: Desk) -> None:
        asked = {
            **report.arguments,
            "TimePeriod": {"Start": date_of(since_ms), "End": date_of(until_ms)},
            "Granularity": "DAILY",
            "Metrics": list(METRICS),
        }
        tokens: set[str] = set()
        for _ in range(MOST_PAGES):
            answer = self._aws.call(desk, self._costs, asked)
            for result in rows(answer, "ResultsByTime"):
                self._day(report, bill, result, since_ms, until_ms)
            token = answer.get("NextPageToken")
            if not token:
                return
            if token in tokens:
                raise SourceError("repeated_page", "a page names one as the next that was read")
            tokens.add(token)
            asked["NextPageToken"] = token
        raise SourceError("repeated_page", f"no end after {MOST_PAGES} pages")

    def _day(self, report: _Report, bill: Bill, result: Row, since_ms: int, until_ms: int) -> None:
        period = group(result, "TimePeriod")
        start_ms = instant_ms(period, "Start")
        if start_ms % MS_PER_DAY or instant_ms(period, "End") != start_ms + MS_PER_DAY:
            raise malformed("TimePeriod", "is no day")
        if not since_ms <= start_ms < until_ms:
            raise malformed("TimePeriod", "is outside the time that was asked for")
        day = start_ms // MS_PER_DAY
        # What does not say that it is final is not.
        bill.day(day, estimated=result.get("Estimated") is not False)
        for found in rows(result, "Groups") if "Groups" in result else ():
            keys = found.get("Keys")
            if not isinstance(keys, list) or len(keys) != 2:
                raise malformed("Keys", "expected two")
            first, second = (str(key) for key in keys)
            metrics = group(found, "Metrics")
            if report.second == "record":
                labels = self._labels(second, "", "")
                name = line_name(first, second)
                bill.add(day, name, labels, charge_of(first, second), metrics)
            else:
                labels = self._labels(first, report.second, second)
                name = line_name(USAGE_RECORDS[0], first, second)
                bill.add(day, name, labels, charge_of(USAGE_RECORDS[0], first), metrics)

    def _labels(self, service: str, second: str, value: str) -> Labels:
        account = value if second == "account" else ""
        usage = value if second == "usage_type" else ""
        category = category_of(service, usage)
        labels = self._owners.labels(
            # The bill has names of its own for models: one that no meter has finds nobody,
            # while a line without a model is divided among all that its service's meters say.
            "",
            project=account,
            service=service,
            region=region_of_usage(service, usage),
            operation="",
        )._replace(category=category, purpose="inference" if category == "llm_api" else "")
        if account:
            labels = labels._replace(account=clean(account))
        if second == "tag":
            key = self._tags.asked[0]
            labels = self._tags.labels(labels, {key: value.removeprefix(f"{key}$")})
        return labels
