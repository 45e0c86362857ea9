"""Files in S3, through boto3."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from costmeter.sources.aws_client import Aws, Call, region_of
from costmeter.sources.aws_errors import source_error
from costmeter.sources.contract import Desk, Settings, SourceError
from costmeter.sources.files.places import Found, fixed_part, matches, not_too_many, scratch
from costmeter.sources.options import Options

_CHUNK = 1 << 20
_MOST_PAGES = 1_000


class Bucket:
    """A bucket: listed and read. Takes the options region, profile, role_arn, external_id."""

    def __init__(self, settings: Settings, options: Options, bucket: str) -> None:
        self._aws = Aws(settings, options)
        self._bucket = bucket
        region = region_of(options.word("region", "us-east-1"))
        self._list = Call("s3", region, "list_objects_v2", "IsTruncated")
        self._get = Call("s3", region, "get_object", "Body")

    def list(self, desk: Desk, prefix: str) -> Iterator[tuple[str, str, float]]:
        """Of each object: its key, a mark, and when it was written."""
        asked: dict[str, Any] = {"Bucket": self._bucket, "Prefix": prefix}
        tokens: set[str] = set()
        for _ in range(_MOST_PAGES):
            answer = self._aws.call(desk, self._list, asked)
            for item in answer.get("Contents", ()):
                written = item["LastModified"].timestamp()
                yield item["Key"], f"{item['ETag']} {item['Size']} {written}", written
            if not answer["IsTruncated"]:
                return
            token = answer.get("NextContinuationToken", "")
            if not token or token in tokens:
                raise SourceError("repeated_page", "s3: a page names one that was read as next")
            tokens.add(token)
            asked["ContinuationToken"] = token
        raise SourceError("repeated_page", f"s3: no end after {_MOST_PAGES} pages")

    @contextmanager
    def open(self, key: str, desk: Desk) -> Iterator[Path]:
        with scratch() as path:
            self._download(key, path, desk)
            yield path

    def _download(self, key: str, path: Path, desk: Desk) -> None:
        answer = self._aws.call(desk, self._get, {"Bucket": self._bucket, "Key": key})
        body, whole = answer["Body"], answer.get("ContentLength")
        read = 0
        try:
            with path.open("wb") as out:
                for chunk in body.iter_chunks(_CHUNK):
                    read += len(chunk)
                    out.write(chunk)
        except OSError as error:
            # What a full disk says; boto3's own failures to connect are none of these.
            if type(error).__module__ == "builtins" and error.errno is not None:
                raise SourceError("other", f"{path.parent}: {error.strerror}") from None
            raise source_error(error, "s3", desk.clock.now_ms()) from None
        except Exception as error:  # noqa: BLE001 - each way to fail gets its reason
            raise source_error(error, "s3", desk.clock.now_ms()) from None
        finally:
            body.close()
        if whole is not None and read != whole:
            raise SourceError("malformed", f"{key} broke off after {read} of {whole} bytes")


class S3:
    def __init__(self, settings: Settings, options: Options, bucket: str, pattern: str) -> None:
        self._where = f"s3://{bucket}/{pattern}"
        self._pattern = pattern
        self._bucket = Bucket(settings, options, bucket)

    def files(self, desk: Desk) -> list[Found]:
        found = [
            Found(key, mark)
            for key, mark, _ in self._bucket.list(desk, fixed_part(self._pattern))
            if matches(key, self._pattern)
        ]
        return not_too_many(found, self._where)

    @contextmanager
    def open(self, found: Found, desk: Desk) -> Iterator[Path]:
        with self._bucket.open(found.name, desk) as path:
            yield path
