"""Files in Google Cloud Storage, through its client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from costmeter.sources.contract import Desk, Settings, SourceError
from costmeter.sources.files.places import Found, fixed_part, matches, not_too_many, scratch
from costmeter.sources.gcp_client import Identity, endpoint_of, needs, patiently, take
from costmeter.sources.options import Options

_HOST = "storage.googleapis.com"
_SCOPE = "https://www.googleapis.com/auth/devstorage.read_only"
_SERVICE = "Cloud Storage"
_MOST_PAGES = 1_000
_PER_PAGE = 1_000


class Gcs:
    """Takes the option credentials_file."""

    def __init__(self, settings: Settings, options: Options, bucket: str, pattern: str) -> None:
        """Raises ValueError where google-cloud-storage is missing."""
        needs("google.cloud.storage")
        self._endpoint = endpoint_of(settings.base_url, _HOST)
        self._base_url = settings.base_url.rstrip("/")
        self._identity = Identity(settings, options, self._endpoint)
        self._timeout = settings.timeout_seconds
        self._bucket = bucket
        self._pattern = pattern
        self._known: tuple[bytes, Any] | None = None

    def files(self, desk: Desk) -> list[Found]:
        client = self._client()
        found: list[Found] = []
        token: str | None = None
        seen: set[str] = set()
        for _ in range(_MOST_PAGES):
            blobs, token = patiently(desk, _SERVICE, partial(self._page, desk, client, token))
            found += [
                Found(blob.name, f"{blob.etag} {blob.generation} {blob.size}")
                for blob in blobs
                if matches(blob.name, self._pattern)
            ]
            if not token:
                return not_too_many(found, f"gs://{self._bucket}/{self._pattern}")
            if token in seen:
                break
            seen.add(token)
        raise SourceError("repeated_page", f"{_SERVICE}: a page names one that was read as next")

    def _page(self, desk: Desk, client: Any, token: str | None) -> tuple[list[Any], str | None]:
        take(desk)
        listed = client.list_blobs(
            self._bucket,
            prefix=fixed_part(self._pattern) or None,
            page_size=_PER_PAGE,
            max_results=None,
            page_token=token,
            timeout=self._timeout,
            retry=None,
        )
        page = next(listed.pages, ())
        return list(page), listed.next_page_token

    @contextmanager
    def open(self, found: Found, desk: Desk) -> Iterator[Path]:
        client = self._client()
        generation = int(found.mark.split(" ")[1])
        with scratch() as path:

            def download() -> None:
                take(desk)
                blob = client.bucket(self._bucket).blob(found.name, generation=generation)
                blob.download_to_filename(
                    str(path), timeout=self._timeout, retry=None, checksum="auto"
                )

            patiently(desk, _SERVICE, download)
            yield path

    def _client(self) -> Any:
        from google.cloud import storage  # type: ignore[attr-defined]

        credentials, mark = self._identity.credentials(_SCOPE)
        if self._known is None or self._known[0] != mark:
            client = storage.Client(
                project="costmeter",
                credentials=credentials,
                client_options={"api_endpoint": self._base_url} if self._base_url else None,
            )
            self._known = (mark, client)
        return self._known[1]
