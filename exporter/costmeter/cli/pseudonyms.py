"""The key under which users are pseudonymised, read from its file."""

from __future__ import annotations

from costmeter.cli.errors import CommandError
from costmeter.config import Config
from costmeter.ingest.pseudonym import Pseudonyms

#: 16 random bytes are 22 characters of base64; less could be guessed.
_SHORTEST = 22


def pseudonyms_of(config: Config) -> Pseudonyms | None:
    """None unless the configuration names a key. Raises CommandError for a useless one."""
    path = config.ingest.pseudonym_key_file
    if path is None:
        return None
    try:
        key = path.read_bytes().strip()
    except OSError as error:
        raise CommandError(
            f"ingest.pseudonym_key_file: {path} cannot be read: {error.strerror}"
        ) from None
    if len(key) < _SHORTEST:
        raise CommandError(
            f"ingest.pseudonym_key_file: {path} holds fewer than {_SHORTEST} characters; "
            f"make a key with: head -c 32 /dev/urandom | base64 > {path}"
        )
    return Pseudonyms(key)
