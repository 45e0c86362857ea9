"""What the writing exporter does about budgets beside showing them."""

from __future__ import annotations

from collections.abc import Sequence

from costmeter.clock import Clock
from costmeter.config import Config
from costmeter.engine import budgets
from costmeter.engine.alertmanager import Alertmanager
from costmeter.engine.budget_alarms import Alarms
from costmeter.engine.jobs import Job
from costmeter.engine.schedule import Every
from costmeter.ledger import budget_alerts
from costmeter.ledger.writer import Writer
from costmeter.tally import Tally

JOB = "budget-alerts"
_AT_ONCE = 1_000


class BudgetJobs:
    """Alert history, counters of budgets that are newly shown, and the Alertmanager."""

    def __init__(self, config: Config, writer: Writer, clock: Clock, tally: Tally) -> None:
        settings = config.alertmanager
        self.alarms = Alarms(settings.job)
        self._writer = writer
        self._every = config.jobs.budgets_seconds
        self._counted: set[int] = set()
        self._alertmanager = Alertmanager(
            settings.urls,
            self.alarms.alerts,
            clock,
            tally,
            resend_seconds=settings.resend_seconds,
            token_file=settings.token_file,
        )

    def start(self) -> None:
        self._alertmanager.start()

    def stop(self) -> None:
        self._alertmanager.stop()

    def jobs(self) -> Sequence[Job]:
        about = "writes down which amounts budgets crossed"
        return (Job(JOB, Every(self._every), self.run, about),)

    def run(self) -> str:
        """Write down what was crossed since the last run; how many entries are new."""
        crossings, fresh = self.alarms.take_crossings(), 0
        connection = self._writer.booking.connection
        while crossings:
            part = crossings[:_AT_ONCE]
            try:
                written = self._writer.run(
                    lambda part=part: budget_alerts.record(connection, part)  # type: ignore[misc]
                ).result()
            except BaseException:
                self.alarms.give_back(crossings)
                raise
            fresh += len(written)
            del crossings[:_AT_ONCE]
        exported = self.alarms.exported()
        if uncounted := sorted(exported - self._counted):
            budgets.count(self._writer, uncounted)
            self._counted |= exported
        return f"{fresh} amounts were crossed" if fresh else ""
