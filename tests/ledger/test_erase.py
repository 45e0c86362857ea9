"""A user who is erased is nowhere in the files, and no total knows the difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from costmeter.engine.erasure import erase_users
from costmeter.ledger import erase
from costmeter.ledger.erase import Outcome, Stored
from costmeter.ledger.history import spend
from costmeter.ledger.upkeep import apply_budgets
from costmeter.ledger.verify import verify
from costmeter.ledger.writer import Writer
from costmeter.model import Budget, Usage
from faults.ledgers import DAY, Ledger, usage

WHO, OTHER = "erika.mustermann@example.org", "someone-else-entirely"


def by(who: str, number: int, at_ms: int, **changes: str) -> Usage:
    return usage(number, at_ms, **changes)._replace(
        user_id=who, session_id=f"session-of-{who}", detail=f'{{"tags":{{"mail":"{who}"}}}}'
    )


def request(ledger: Ledger, *users: Stored) -> erase.Erasure:
    erase.leave_request(ledger.path, users, ledger.clock.now_ms(), rebuild=True)
    (asked,) = erase.pending(ledger.store.connection)
    return asked


def figures(ledger: Ledger) -> object:
    """Everything that anybody outside can see of the ledger's money."""
    connection = ledger.store.connection
    booked = ledger.booking.booked
    return (
        [spend(connection, ["model", "day"], booked_until=day) for day in (booked - 1, booked)],
        connection.execute("SELECT family, labels, value, opening FROM series").fetchall(),
        connection.execute("SELECT grain, start, labels, net FROM period_cost").fetchall(),
        connection.execute("SELECT * FROM cell").fetchall(),
        connection.execute(
            "SELECT org, day, model, booked, requests, tokens, up, down FROM user_day "
            "ORDER BY 1, 2, 3, 4, 5, 6, 7"
        ).fetchall(),
    )


def grep(folder: Path, text: str) -> list[str]:
    wanted = text.encode()
    return [path.name for path in sorted(folder.iterdir()) if wanted in path.read_bytes()]


def test_erasing_changes_no_total_and_leaves_no_byte(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        now = ledger.clock.now_ms()
        ledger.book(*[by(WHO, n, now - DAY * (n % 3)) for n in range(200)])
        ledger.book(*[by(OTHER, 1_000 + n, now) for n in range(50)])
        ledger.clock.advance(days=1)
        ledger.book(by(WHO, 5_000, ledger.clock.now_ms(), model="unknown"))
        assert "ledger.db-wal" in grep(tmp_path, WHO)
        before = figures(ledger)
        asked = request(ledger, Stored("acme", WHO))
        done = ledger.do(lambda: erase.erase(ledger.booking, asked))
        # Three days of the first batch, and one more of the day after.
        assert (done.users, done.events, done.days) == (1, 201, 4)
        assert figures(ledger) == before
        ledger.do(lambda: erase.answer(ledger.booking, asked, Outcome(*done, "")))
        assert erase.scrub(ledger.path, rebuild=True) == ""
        assert grep(tmp_path, WHO) == []
        assert grep(tmp_path, OTHER) == ["ledger.db"]
        assert figures(ledger) == before
        assert erase.answer_of(ledger.store.connection, asked.name) == Outcome(1, 201, 4, "")
        assert erase.pending(ledger.store.connection) == []


def test_an_id_is_somebody_else_in_another_tenant(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        now = ledger.clock.now_ms()
        ledger.book(by(WHO, 1, now), by(WHO, 2, now, tenant_id="globex"))
        asked = request(ledger, Stored("acme", WHO))
        ledger.do(lambda: erase.erase(ledger.booking, asked))
        left = erase.stored_users(ledger.store.connection)
        assert Stored("globex", WHO) in left
        assert Stored("acme", WHO) not in left
        rows = ledger.store.connection.execute(
            "SELECT user_id LIKE 'erased:%', session_id, detail FROM usage_event WHERE event = 1"
        ).fetchall()
        assert rows == [(1, "", "")]


def test_two_erased_users_stay_two_and_get_new_tokens(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        now = ledger.clock.now_ms()
        ledger.book(by(WHO, 1, now), by(OTHER, 2, now))
        asked = request(ledger, Stored("acme", WHO), Stored("acme", OTHER))
        ledger.do(lambda: erase.erase(ledger.booking, asked))
        tokens = {user.user_id for user in erase.stored_users(ledger.store.connection)}
        assert len(tokens) == 2
        assert all(token.startswith(erase.ERASED) and len(token) == 39 for token in tokens)


def test_events_that_no_total_holds_yet_are_erased_too(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        now = ledger.clock.now_ms()
        ledger.book(by(OTHER, 1, now))
        late = [by(WHO, 2, now)]
        ledger.booking.transact(lambda: ledger.booking.usages(late), flush=False)
        assert Stored("acme", WHO) in erase.stored_users(ledger.store.connection)
        asked = request(ledger, Stored("acme", WHO))
        done = ledger.do(lambda: erase.erase(ledger.booking, asked))
        assert (done.users, done.events, done.days) == (1, 1, 1)


def test_the_audit_names_nobody_and_a_request_neither(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.book(by(WHO, 1, ledger.clock.now_ms()))
        asked = request(ledger, Stored("acme", WHO))
        (value,) = ledger.store.connection.execute(
            "SELECT value FROM state WHERE kind = 'erase_request'"
        ).fetchone()
        assert WHO not in value
        ledger.do(lambda: erase.erase(ledger.booking, asked))
        audit = ledger.store.connection.execute("SELECT kind, text FROM audit").fetchall()
        assert audit == [("erase-user", f"1 users erased from 1 events, request {asked.name}")]


def test_a_failed_transaction_erases_nothing(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.book(by(WHO, 1, ledger.clock.now_ms()))
        asked = request(ledger, Stored("acme", WHO))

        def half() -> None:
            erase.erase(ledger.booking, asked)
            raise OSError("the cable is out")

        with pytest.raises(OSError, match="cable"):
            ledger.do(half)
        assert erase.stored_users(ledger.store.connection) == [Stored("acme", WHO)]
        assert erase.pending(ledger.store.connection)[0].done is None


def test_after_a_crash_only_the_files_are_left_to_clean(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.book(by(WHO, 1, ledger.clock.now_ms()))
        asked = request(ledger, Stored("acme", WHO))
        ledger.do(lambda: erase.erase(ledger.booking, asked))
        ledger.restart()
        (left,) = erase.pending(ledger.store.connection)
        assert (left.done, left.digests) == (erase.Done(1, 1, 1), ())
        # Whoever asked and gave up takes nothing back now: the files are not clean.
        erase.withdraw_request(ledger.path, left.name)
        assert erase.pending(ledger.store.connection) == [left]
        assert ledger.do(lambda: erase.erase(ledger.booking, left)) == left.done


def test_a_request_can_be_withdrawn_before_it_was_met(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.book(by(WHO, 1, ledger.clock.now_ms()))
        asked = request(ledger, Stored("acme", WHO))
        erase.withdraw_request(ledger.path, asked.name)
        assert erase.pending(ledger.store.connection) == []


def test_without_a_rebuild_it_says_so(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.book(by(WHO, 1, ledger.clock.now_ms()))
        assert "not rebuilt" in erase.scrub(ledger.path, rebuild=False)


def test_a_long_reader_is_told(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.book(by(WHO, 1, ledger.clock.now_ms()))
        reader = ledger.store.reader()
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM usage_event").fetchone()
        ledger.book(by(WHO, 2, ledger.clock.now_ms()))
        said = erase.scrub(ledger.path, rebuild=True, readers_seconds=0.3)
        assert "somebody reads" in said
        reader.close()
        assert erase.scrub(ledger.path, rebuild=True) == ""


def test_the_job_goes_through_the_writer(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        writer, now = Writer(ledger.booking, ledger.tally), ledger.clock.now_ms()
        writer.start()
        writer.submit([by(WHO, n, now) for n in range(3)]).result()
        assert erase_users(writer) == ""
        erase.leave_request(ledger.path, [Stored("acme", WHO)], now, rebuild=True)
        assert erase_users(writer) == "1 users erased from 3 events"
        assert erase_users(writer) == ""
        assert grep(tmp_path, WHO) == []
        writer.close()


def test_budgets_of_the_erased_keep_what_was_spent_and_name_nobody(tmp_path: Path) -> None:
    own = Budget("own", 10**12, (("tenant_id", "acme"), ("user_id", WHO)))
    other = Budget("other", 10**12, (("user_id", OTHER),))
    with Ledger(tmp_path, budgets=[own, other]) as ledger:
        now = ledger.clock.now_ms()
        ledger.book(by(WHO, 1, now), by(OTHER, 2, now))
        ledger.do(lambda: apply_budgets(ledger.booking, [replace(own, limit_nano=5), other]))
        before = spent(ledger)
        asked = request(ledger, Stored("acme", WHO))
        ledger.do(lambda: erase.erase(ledger.booking, asked))
        assert spent(ledger) == before == {"own": 2_500_000_000, "other": 2_500_000_000}
        assert list(verify(ledger.store)) == []
        assert erase.scrub(ledger.path, rebuild=True) == ""
        assert grep(tmp_path, WHO) == []
        # The configuration names the id still: the budget begins anew with what comes now.
        ledger.restart()
        ledger.book(by(OTHER, 3, now))
        assert spent(ledger) == {"other": 5_000_000_000}
        ledger.book(by(WHO, 4, now))
        assert spent(ledger)["own"] == 2_500_000_000
        assert ledger.total("llm_budget_cost_total", "own") == 5_000_000_000


@pytest.mark.parametrize(
    ("erased", "left"), [(("acme",), 2_500_000_000), (("acme", "globex"), 2_500_000_000)]
)
def test_a_budget_of_one_id_in_two_tenants_keeps_one(
    tmp_path: Path, erased: Sequence[str], left: int
) -> None:
    both = Budget("both", 10**12, (("user_id", WHO),))
    with Ledger(tmp_path, budgets=[both]) as ledger:
        now = ledger.clock.now_ms()
        ledger.book(by(WHO, 1, now), by(WHO, 2, now, tenant_id="globex"))
        assert spent(ledger) == {"both": 5_000_000_000}
        asked = request(ledger, *[Stored(tenant, WHO) for tenant in erased])
        ledger.do(lambda: erase.erase(ledger.booking, asked))
        assert spent(ledger) == {"both": left}
        assert ledger.total("llm_budget_cost_total", "both") == 5_000_000_000
        assert list(verify(ledger.store)) == []
        ledger.restart()
        assert list(verify(ledger.store)) == []


def spent(ledger: Ledger) -> dict[str, int]:
    """What is spent of each budget that has spend in its period."""
    return dict(
        ledger.store.connection.execute(
            "SELECT name, budget_period.net FROM budget_period JOIN budget_now USING (number) "
            "WHERE active AND budget_period.net != 0"
        ).fetchall()
    )
