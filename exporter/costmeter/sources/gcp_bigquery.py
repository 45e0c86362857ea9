"""Questions to BigQuery through google-cloud-bigquery: priced before they are asked.

Shape: `jobs.insert` for the dry run that says how many bytes a query will scan, `jobs.query`
and `jobs.getQueryResults` for its rows. Each request over HTTP, also the paging of the
client, goes through the allowance and the patience of a source.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from costmeter.sources.contract import Desk, Settings, SourceError
from costmeter.sources.gcp_client import Identity, endpoint_of, needs, patiently, take
from costmeter.sources.gcp_errors import source_error
from costmeter.sources.options import Options
from costmeter.sources.reading import malformed, parse

HOST = "bigquery.googleapis.com"
SCOPE = "https://www.googleapis.com/auth/bigquery"
SERVICE = "BigQuery"
#: On demand, USD 6.25 for a TiB; a query scans at least 10 MiB and counts whole MiB.
NANO_PER_TIB = 6_250_000_000
_MIB, _TIB = 1 << 20, 1 << 40
_LEAST_BYTES = 10 * _MIB
_ROWS_A_PAGE = 10_000
_MOST_ROWS = 2_000_000
#: A query over a billing export takes seconds; whatever takes longer waits for slots.
_WAIT_SECONDS = 600


def nano_of(scanned: int) -> int:
    """What a query costs on demand, in nano-USD, rounded up; 0 for one that scans nothing."""
    if scanned <= 0:
        return 0
    counted = max(_LEAST_BYTES, -(-scanned // _MIB) * _MIB)
    return -(-counted * NANO_PER_TIB // _TIB)


class BigQuery:
    """One project's queries; takes the options credentials_file, location and max_gib."""

    def __init__(self, settings: Settings, options: Options, project: str) -> None:
        """Raises ValueError where Google's packages are missing, or for bad settings."""
        needs("google.cloud.bigquery")
        self._endpoint = endpoint_of(settings.base_url, HOST)
        self._identity = Identity(settings, options, self._endpoint)
        self._timeout_seconds = settings.timeout_seconds
        self._project = project
        self._location = options.word("location", "") or None
        self._most_bytes = options.whole("max_gib", 50, most=100_000) << 30

    def rows(
        self, desk: Desk, sql: str, values: Mapping[str, tuple[str, Any]]
    ) -> Iterator[Mapping[str, Any]]:
        """The rows that answer a query; raises SourceError.

        `values` are its parameters: (type, value), an array where the value is a list.
        """
        from google.cloud import bigquery

        session = session_of(self._identity, desk)
        scheme = "https" if self._endpoint.secure else "http"
        client = bigquery.Client(
            project=self._project,
            _http=session,
            location=self._location,
            client_options={"api_endpoint": f"{scheme}://{self._endpoint.address}"},
        )
        parameters = [_parameter(name, *value) for name, value in values.items()]
        try:
            scanned = self._scanned(client, sql, parameters)
            session.nano = nano_of(scanned)
            yield from self._answer(client, sql, parameters)
        except SourceError:
            raise
        except Exception as error:  # noqa: BLE001 - each way to fail gets its reason
            raise source_error(error, SERVICE, desk.clock.now_ms()) from None
        finally:
            session.close()

    def _scanned(self, client: Any, sql: str, parameters: Sequence[Any]) -> int:
        from google.cloud import bigquery

        config = bigquery.QueryJobConfig(
            query_parameters=parameters, dry_run=True, use_query_cache=False
        )
        job = client.query(
            sql, job_config=config, retry=None, job_retry=None, timeout=self._timeout_seconds
        )
        scanned = job.total_bytes_processed
        if scanned is None:
            raise malformed("totalBytesProcessed", "missing in the answer to a dry run")
        if scanned > self._most_bytes:
            raise SourceError(
                "budget",
                f"a query would scan {scanned / (1 << 30):.1f} GiB "
                f"({nano_of(scanned) / 1e9:.2f} USD), more than option "
                f"max_gib={self._most_bytes >> 30}; raise it, or read fewer days",
            )
        return int(scanned)

    def _answer(
        self, client: Any, sql: str, parameters: Sequence[Any]
    ) -> Iterator[Mapping[str, Any]]:
        from google.cloud import bigquery

        config = bigquery.QueryJobConfig(
            query_parameters=parameters,
            # The price was asked for a scan: an answer from the cache would be free, but old.
            use_query_cache=False,
            maximum_bytes_billed=self._most_bytes,
        )
        found = client.query_and_wait(
            sql,
            job_config=config,
            api_timeout=self._timeout_seconds,
            wait_timeout=_WAIT_SECONDS,
            retry=None,
            job_retry=None,
            page_size=_ROWS_A_PAGE,
        )
        tokens: set[str] = set()
        number = 0
        for page in found.pages:
            for row in page:
                number += 1
                if number > _MOST_ROWS:
                    raise SourceError("too_large", f"more than {_MOST_ROWS} rows")
                yield dict(row.items())
            token = found.next_page_token
            if token and token in tokens:
                raise SourceError("repeated_page", "a page names one as the next that was read")
            tokens.add(token or "")
        if found.total_rows is not None and number != found.total_rows:
            more = number > found.total_rows
            text = f"{number} rows came of {found.total_rows}"
            raise SourceError("repeated_page" if more else "malformed", text)


def _parameter(name: str, kind: str, value: Any) -> Any:
    from google.cloud import bigquery

    if isinstance(value, list):
        return bigquery.ArrayQueryParameter(name, kind, value)
    return bigquery.ScalarQueryParameter(name, kind, value)


def session_of(identity: Identity, desk: Desk) -> Any:
    """What the client sends its requests with; `nano` is what its next query costs."""
    import google.api_core.exceptions
    from google.auth.transport.requests import AuthorizedSession

    refused: Any = google.api_core.exceptions.from_http_response
    credentials, _ = identity.credentials(SCOPE)

    class Session(AuthorizedSession):
        nano = 0

        def request(  # type: ignore[override]
            self, method: str, url: str, *rest: Any, **more: Any
        ) -> Any:
            priced = self.nano if method == "POST" else 0
            # A redirect is not followed: the token must not go anywhere else.
            more["allow_redirects"] = False
            asked = partial(super().request, method, url, *rest, **more)

            def once() -> Any:
                nonlocal priced
                take(desk, priced)
                # A request that is sent again has the same id, and is not charged again.
                priced = 0
                answer = asked()
                if answer.status_code >= 300:
                    raise refused(answer)
                if answer.content:
                    parse(answer.content)
                return answer

            self.nano = 0 if method == "POST" else self.nano
            return patiently(desk, SERVICE, once)

    made: Any = Session
    session = made(credentials, refresh_status_codes=())
    # Calls go straight to the provider: the environment's proxy is kept out.
    session.trust_env = False
    return session
