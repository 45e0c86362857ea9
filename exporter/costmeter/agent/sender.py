"""Sends what the spool holds to the server, oldest first, until it is acknowledged."""

from __future__ import annotations

import logging
import random
import re
import ssl
import threading
import time
from collections.abc import Callable
from typing import Protocol

from costmeter.agent.rejects import Rejects
from costmeter.agent.spool import Spool
from costmeter.agent.transport import Answer, pack
from costmeter.agent.verdict import Verdict, read_verdict, said_by
from costmeter.agent.wire import body_of
from costmeter.clock import Clock
from costmeter.gpu.backoff import Notices
from costmeter.tally import Tally

_log = logging.getLogger("costmeter.agent")

#: In one body. A server takes 10,000 events of 10 MiB by default, and a share is an event.
MOST_SEGMENTS = 500
MOST_BYTES = 1 << 20
FIRST_BACKOFF_SECONDS = 1.0
LAST_BACKOFF_SECONDS = 60.0
#: What the server says can be right later, as a segment of the future, is tried again then.
LATER_SECONDS = 30.0

FORWARDED = "costmeter_agent_segments_forwarded_total"
REJECTED = "costmeter_agent_segments_rejected_total"
FAILED = "costmeter_agent_forward_failures_total"
_WORD = re.compile(r"[a-z_]+")
#: The request is wrong as a whole, whatever is in it: kept until somebody mends it.
_DOOR = {401: "unauthorized", 403: "forbidden", 404: "not_found", 405: "not_found"}


class Post(Protocol):
    def post(self, packed: bytes, token: str | None, seconds: float | None = None) -> Answer: ...
    def close(self) -> None: ...


class Sender:
    """`step` sends one body, if there is one; `run` steps until `stop`.

    `read_token` gives the token anew, None when there is none; it may raise OSError.
    """

    def __init__(
        self,
        spool: Spool,
        transport: Post,
        read_token: Callable[[], str | None],
        rejects: Rejects,
        clock: Clock,
        tally: Tally,
        *,
        where: str,
        interval_seconds: float = 10,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._spool = spool
        self._transport = transport
        self._read_token = read_token
        self._rejects = rejects
        self._clock = clock
        self._tally = tally
        self._where = where
        self._interval_seconds = interval_seconds
        self._uniform = uniform
        self._notices = Notices(_log)
        self._token: str | None = None
        self._token_known = False
        self._most = MOST_SEGMENTS
        self._failures = 0
        self._stop = threading.Event()
        self._deadline: float | None = None
        self._thread: threading.Thread | None = None
        for outcome in ("accepted", "duplicate", "observed"):
            tally.add(FORWARDED, outcome, by=0)

    def start(self) -> None:
        self._thread = threading.Thread(target=self.run, name="costmeter-forward", daemon=True)
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Send what is left once more, for at most this long; the rest stays on the disk."""
        self._deadline = time.monotonic() + seconds
        self._stop.set()
        if self._thread is not None:
            self._thread.join(seconds + 0.5)

    def run(self) -> None:
        while not self._stop.wait(self._safe_step()):
            pass
        while self._remaining() > 0 and self._safe_step() == 0.0:
            pass
        self._transport.close()

    def _safe_step(self) -> float:
        try:
            return self.step()
        except Exception:  # noqa: BLE001 - this thread has to go on
            _log.exception("GPU time could not be sent; it is tried again")
            return LAST_BACKOFF_SECONDS

    def _remaining(self) -> float:
        return 0.0 if self._deadline is None else self._deadline - time.monotonic()

    def step(self) -> float:
        """Send one body; how many seconds to wait before the next: 0 when more waits."""
        lines = self._spool.lease(self._most, MOST_BYTES)
        if not lines:
            # A server has room for hundreds of connections, and a fleet has thousands of nodes.
            self._transport.close()
            # Not all of them at the same moment either, however they were started.
            return self._interval_seconds * self._uniform(0.5, 1.0)
        if not self._token_known and not self._know_token():
            self._spool.release()
            return self._back_off(None)
        began = time.monotonic()
        try:
            patience = None if self._deadline is None else max(0.05, self._remaining())
            answer = self._transport.post(pack(body_of(lines)), self._token, patience)
        except Exception as error:  # noqa: BLE001 - whatever it was, the segments stay
            return self._away(error)
        finally:
            self._tally.add("costmeter_agent_forwards_total")
            self._tally.add("costmeter_agent_forward_seconds_total", by=time.monotonic() - began)
        return self._judge(lines, answer)

    def _know_token(self) -> bool:
        try:
            self._token = self._read_token()
        except OSError as error:
            self._fail("token", f"the token file cannot be read: {error.strerror}")
            return False
        except ValueError as error:
            self._fail("token", str(error))
            return False
        self._token_known = True
        return True

    def _judge(self, lines: list[bytes], answer: Answer) -> float:
        status = answer.status
        if status == 200:
            verdict = read_verdict(answer.body, len(lines))
            if verdict is not None:
                return self._taken(lines, verdict)
            self._fail("unreadable_answer", f"{self._where} is no costmeter server")
        elif status == 413:
            return self._too_large(lines, answer)
        elif status in _DOOR:
            # The token may have been renewed: the file is read again before the next try.
            self._token_known = False
            self._fail(_DOOR[status], f"{self._where} answered {status}: {said_by(answer)}")
        elif status == 429:
            self._fail("throttled", f"{self._where} answered 429: {said_by(answer)}")
        elif status in (400, 415, 422):
            return self._unreadable(lines, answer)
        else:
            self._fail("server_error", f"{self._where} answered {status}: {said_by(answer)}")
        self._spool.release()
        return self._back_off(answer.retry_after)

    def _taken(self, lines: list[bytes], verdict: Verdict) -> float:
        self._recovered()
        self._most = min(MOST_SEGMENTS, self._most + self._most // 10 + 1)
        self._tally.add(FORWARDED, "accepted", by=verdict.accepted)
        self._tally.add(FORWARDED, "duplicate", by=verdict.duplicate)
        self._tally.add(FORWARDED, "observed", by=verdict.observed)
        later = [one for one in verdict.rejected if one.retriable]
        refused = [one for one in verdict.rejected if not one.retriable]
        if refused:
            self._set_aside([(lines[one.place], one.field, one.reason) for one in refused])
        if later:
            # A clock that was ahead must not hold up what comes after: to the end of the queue.
            self._spool.append([lines[one.place] for one in later])
            self._notices.say(
                "later", f"{self._where} takes some GPU time only later: {later[0].reason}"
            )
        else:
            self._notices.forget("later")
        self._spool.done(len(lines))
        return LATER_SECONDS if len(later) == len(lines) else 0.0

    def _set_aside(self, refused: list[tuple[bytes, str, str]]) -> None:
        self._rejects.keep(refused)
        for _, field, reason in refused:
            word = _WORD.match(field)
            self._tally.add(REJECTED, word[0] if word else "segment")
            self._notices.say(
                f"rejected {field}",
                f"{self._where} refused GPU time: {field}: {reason}. It is kept in "
                "rejected.ndjson beside the spool",
            )

    def _too_large(self, lines: list[bytes], answer: Answer) -> float:
        self._tally.add(FAILED, "too_large")
        if len(lines) > 1:
            self._most = len(lines) // 2
            self._spool.release()
            return 0.0
        self._set_aside([(lines[0], "body", said_by(answer))])
        self._spool.done(1)
        return 0.0

    def _unreadable(self, lines: list[bytes], answer: Answer) -> float:
        """The server cannot read the body: found out which segment it is, one by one."""
        self._tally.add(FAILED, "refused")
        if len(lines) > 1:
            self._most = 1
            self._spool.release()
            return 0.0
        self._set_aside([(lines[0], "body", said_by(answer))])
        self._spool.done(1)
        return 0.0

    def _away(self, error: Exception) -> float:
        self._spool.release()
        if isinstance(error, ssl.SSLError):
            reason, why = (
                "tls",
                f"the TLS connection failed ({getattr(error, 'reason', None) or error})",
            )
        elif isinstance(error, TimeoutError):
            reason, why = "timeout", "it does not answer in time"
        elif isinstance(error, OSError):
            reason, why = "network", error.strerror or str(error)
        else:
            # Errors of other kinds may quote a header, and so the token.
            reason, why = "network", type(error).__name__
        self._fail(reason, f"{self._where} cannot be reached: {why}")
        return self._back_off(None)

    def _fail(self, reason: str, text: str) -> None:
        self._tally.add(FAILED, reason)
        self._notices.say(reason, f"{text}. GPU time waits in the spool")

    def _recovered(self) -> None:
        if self._failures:
            _log.info("%s takes GPU time again", self._where)
        self._failures = 0
        self._notices.forget(
            "token", "unreadable_answer", "throttled", "server_error", "tls", "timeout",
            "network", *_DOOR.values(),
        )  # fmt: skip
        self._tally.set(
            "costmeter_agent_forward_last_success_timestamp_seconds",
            to=self._clock.now_ms() / 1000,
        )

    def _back_off(self, retry_after: float | None) -> float:
        """Exponential with jitter, so that a thousand agents do not come back at once."""
        pause = min(
            LAST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * float(1 << min(self._failures, 10))
        )
        self._failures += 1
        pause *= self._uniform(0.5, 1.0)
        if retry_after is not None:
            pause = max(pause, retry_after * self._uniform(1.0, 1.1))
        return pause
